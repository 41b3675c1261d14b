//! The headers of a layer's tar.
//!
//! ustar (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>, "ustar Interchange Format"), with an extended
//! header ("pax Extended Header") for what does not fit: names and link targets longer than 100 bytes or not in ASCII, numbers
//! beyond their octal digits, times before 1970, and capabilities as `SCHILY.xattr.security.capability`. Readers take the
//! extended header's names byte for byte, whatever their encoding; Go's archive/tar, which BuildKit uses, writes them so as well.
//!
//! Written here rather than by the `tar` crate, which writes GNU's extensions for long names and puts fields of its own choosing
//! into the header: the bytes decide a layer's digest, so they must not change with a library's release.

use crate::diff::WHITEOUT;
use crate::path::TreePath;
use crate::tree::{Found, Kind};

/// Tars consist of blocks of this many bytes.
const BLOCK: usize = 512;

/// What ends a tar: two blocks of zeros.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// What to write behind `size` bytes of content to fill the last block.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let used = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    ZEROS.get(used..).filter(|_| used > 0).unwrap_or_default()
}

/// How a file is linked to another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link<'a> {
    /// Not at all.
    None,
    /// A symbolic link with this target.
    Symbolic(&'a [u8]),
    /// Another name, written before, for the same inode.
    Hard(&'a TreePath),
}

/// Appends the header of a name. A regular file's content follows, unless it is a hard link.
pub(crate) fn header(
    out: &mut Vec<u8>,
    path: &TreePath,
    found: &Found,
    link: Link<'_>,
    capability: Option<&[u8]>,
) {
    let mut name = path.as_bytes().to_vec();
    if found.kind == Kind::Directory {
        name.push(b'/');
    }
    let (kind, target, size): (u8, &[u8], u64) = match (link, found.kind) {
        (Link::Hard(path), _) => (b'1', path.as_bytes(), 0),
        (Link::Symbolic(target), _) => (b'2', target, 0),
        (Link::None, Kind::Link) => (b'2', &[], 0),
        (Link::None, Kind::File | Kind::Socket) => (b'0', &[], found.size),
        (Link::None, Kind::Character) => (b'3', &[], 0),
        (Link::None, Kind::Block) => (b'4', &[], 0),
        (Link::None, Kind::Directory) => (b'5', &[], 0),
        (Link::None, Kind::Fifo) => (b'6', &[], 0),
    };
    write(
        out,
        &Header {
            name: &name,
            kind,
            target,
            size,
            mode: found.mode,
            uid: found.uid,
            gid: found.gid,
            // Whole seconds, as BuildKit has them: the rest does not survive unpacking.
            modified: found.modified.seconds,
            device: found.device,
            capability,
        },
    );
}

/// Appends the entry that removes `path`, as BuildKit writes it: an empty file of 1970.
pub(crate) fn whiteout(out: &mut Vec<u8>, path: &TreePath) {
    write(
        out,
        &Header {
            name: whiteout_path(path).as_bytes(),
            kind: b'0',
            target: &[],
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            modified: 0,
            device: (0, 0),
            capability: None,
        },
    );
}

/// The name that says that `path` was removed.
pub(crate) fn whiteout_path(path: &TreePath) -> TreePath {
    let name = [WHITEOUT, path.name()].concat();
    path.parent().unwrap_or_default().join(&name)
}

struct Header<'a> {
    name: &'a [u8],
    kind: u8,
    target: &'a [u8],
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    modified: i64,
    device: (u32, u32),
    capability: Option<&'a [u8]>,
}

fn write(out: &mut Vec<u8>, header: &Header<'_>) {
    let mut records = Vec::new();
    let mut block = Block::default();
    block.text(0, 100, header.name, "path", &mut records);
    block.number(100, 8, header.mode.into(), "mode", &mut records);
    block.number(108, 8, header.uid.into(), "uid", &mut records);
    block.number(116, 8, header.gid.into(), "gid", &mut records);
    block.number(124, 12, header.size.into(), "size", &mut records);
    block.number(136, 12, header.modified.into(), "mtime", &mut records);
    block.text(157, 100, header.target, "linkpath", &mut records);
    block.number(
        329,
        8,
        header.device.0.into(),
        "SCHILY.devmajor",
        &mut records,
    );
    block.number(
        337,
        8,
        header.device.1.into(),
        "SCHILY.devminor",
        &mut records,
    );
    if let Some(value) = header.capability {
        record(&mut records, "SCHILY.xattr.security.capability", value);
    }
    if !records.is_empty() {
        let mut extended = Block::default();
        extended.text(0, 100, b"PaxHeaders.0/x", "path", &mut Vec::new());
        for (offset, width) in [(100, 8), (108, 8), (116, 8), (136, 12), (329, 8), (337, 8)] {
            extended.number(offset, width, 0, "", &mut Vec::new());
        }
        extended.number(124, 12, records.len() as i128, "size", &mut Vec::new());
        extended.finish(out, b'x');
        out.extend_from_slice(&records);
        out.extend_from_slice(padding(records.len() as u64));
    }
    block.finish(out, header.kind);
}

/// One record of an extended header: its own length in decimal, a space, `key=value` and a line feed.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest;
    loop {
        let whole = rest + length.to_string().len();
        if whole == length {
            break;
        }
        length = whole;
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

struct Block([u8; BLOCK]);

impl Default for Block {
    fn default() -> Self {
        Self([0; BLOCK])
    }
}

impl Block {
    /// Text at `offset`, or as a record if the field of `width` bytes cannot hold it.
    fn text(&mut self, offset: usize, width: usize, text: &[u8], key: &str, records: &mut Vec<u8>) {
        let fits = text.len() <= width && text.is_ascii();
        if !fits {
            record(records, key, text);
        }
        // Without the record, a reader sees what it would see of a short ASCII name.
        let ascii = text.iter().copied().filter(u8::is_ascii).take(width);
        for (field, byte) in self.0.iter_mut().skip(offset).zip(ascii) {
            *field = byte;
        }
    }

    /// A number in octal digits and a zero byte at `offset`, or as a record if there are too few digits for it.
    fn number(
        &mut self,
        offset: usize,
        width: usize,
        number: i128,
        key: &str,
        records: &mut Vec<u8>,
    ) {
        let digits = width - 1;
        let fits = number >= 0 && number < 1_i128 << (3 * digits);
        if !fits {
            record(records, key, number.to_string().as_bytes());
        }
        let number = if fits { number } else { 0 };
        let octal = format!("{number:0digits$o}");
        for (field, byte) in self.0.iter_mut().skip(offset).zip(octal.bytes()) {
            *field = byte;
        }
    }

    fn finish(mut self, out: &mut Vec<u8>, kind: u8) {
        // While the sum is computed, its own field counts as eight spaces.
        let constant = b"        ".iter().zip(148..);
        let fixed = b"ustar\x0000".iter().zip(257..);
        for (byte, offset) in constant.chain(fixed).chain([(&kind, 156)]) {
            if let Some(field) = self.0.get_mut(offset) {
                *field = *byte;
            }
        }
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        for (field, byte) in self.0.iter_mut().skip(148).zip(sum.bytes()) {
            *field = byte;
        }
        out.extend_from_slice(&self.0);
    }
}
