//! Timings inside an artifact: a zip file made by actions/upload-artifact.
//!
//! In: untrusted bytes. Out: the total of the first build of a leg.

use std::io::{Cursor, Read as _};
use std::path::Path;
use std::time::Duration;

use zip::ZipArchive;

use super::leg::Leg;
use crate::compare::{self, Total};

/// Files of an archive that are read.
const MOST_FILES: usize = 50;

/// Limit for an unpacked file (bytes): the sizes in an archive may be wrong.
const LARGEST: u64 = 32 * 1024 * 1024;

/// The build's total; none if the archive has no timings of this leg.
pub(super) fn total(archive: Vec<u8>, leg: &Leg) -> Option<Duration> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).ok()?;
    let is_ours = |build: &Total| leg.is(&build.driver, build.image.as_deref());
    (0..archive.len().min(MOST_FILES)).find_map(|index| {
        let file = archive.by_index(index).ok()?;
        let name = file.name().ok()?.into_owned();
        if !name.ends_with(".json") {
            return None;
        }
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).ok()?;
        let found = compare::totals(&text, Path::new(&name))?;
        Some(found.into_iter().find(is_ours)?.total)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// A zip file as actions/upload-artifact makes it.
    pub(in crate::history) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in files {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    pub(in crate::history) fn timings(driver: &str, total_ms: u64) -> String {
        format!(
            r#"{{"schema":1,"images":[{{"driver":"{driver}","total_ms":{total_ms},"phases":{{}}}}]}}"#
        )
    }

    #[test]
    fn the_build_with_the_same_driver_counts() {
        let archive = archive(&[
            ("notes.txt", "no timings"),
            ("broken.json", "{"),
            ("a.json", &timings("docker", 1_000)),
            ("b.json", &timings("kubernetes", 2_000)),
        ]);
        let leg = |driver: &str| Leg {
            driver: driver.to_owned(),
            ..Leg::default()
        };
        let seconds = |driver| total(archive.clone(), &leg(driver)).map(|total| total.as_secs());
        assert_eq!(seconds("kubernetes"), Some(2));
        assert_eq!(seconds("docker"), Some(1));
        assert_eq!(seconds("docker-container"), None);
    }

    proptest! {
        #[test]
        fn never_panics_on_a_damaged_archive(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            let mut archive = archive(&[("a.json", &timings("docker", 1_000))]);
            if let Some(place) = archive.get_mut(at) {
                *place = byte;
            }
            archive.truncate(archive.len() - cut.min(archive.len()));
            let _ = total(archive, &Leg { driver: "docker".to_owned(), ..Leg::default() });
        }
    }
}
