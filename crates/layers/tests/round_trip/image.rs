//! A base and an image over it, mounted as BuildKit mounts them for a build step.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

/// Two overlays in a private folder: a read-only base of one layer and an image that changed it.
pub(crate) struct Image {
    folder: tempfile::TempDir,
    mounted: Vec<PathBuf>,
}

impl Image {
    /// `base` fills the lower layer, `change` works on the merged tree, as a `RUN` does.
    pub(crate) fn build(base: impl FnOnce(&Path), change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("layers").tempdir().unwrap();
        let in_memory = folder.path();
        rustix::mount::mount(
            "tmpfs",
            in_memory,
            "tmpfs",
            MountFlags::NODEV,
            None::<&std::ffi::CStr>,
        )
        .expect("these tests mount file systems: run them as root");
        for name in ["lower", "upper", "work", "none", "base", "image", "run"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut image = Self {
            folder,
            mounted: Vec::new(),
        };
        base(&image.path("lower"));
        image.mount("run", &["lower"], true);
        change(&image.path("run"));
        image.unmount("run");
        // The step sees both trees read-only, each with layers of its own.
        image.mount("base", &["lower", "none"], false);
        image.mount("image", &["upper", "lower"], false);
        image
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.path("base")
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.path("image")
    }

    /// The base as an own, writable tree: to unpack layers over.
    pub(crate) fn lower(&self) -> PathBuf {
        self.path("lower")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mount(&mut self, at: &str, layers: &[&str], writable: bool) {
        let layers: Vec<_> = layers
            .iter()
            .map(|name| self.path(name).display().to_string())
            .collect();
        let mut options = format!("lowerdir={}", layers.join(":"));
        let mut flags = MountFlags::RDONLY | MountFlags::NODEV;
        if writable {
            let (upper, work) = (self.path("upper"), self.path("work"));
            options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
            flags = MountFlags::NODEV;
        }
        let target = self.path(at);
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount(
            "overlay",
            &target,
            "overlay",
            flags,
            Some(options.as_c_str()),
        )
        .unwrap();
        self.mounted.push(target);
    }

    fn unmount(&mut self, at: &str) {
        let target = self.path(at);
        rustix::mount::unmount(&target, UnmountFlags::empty()).unwrap();
        self.mounted.retain(|it| *it != target);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for target in self
            .mounted
            .iter()
            .map(PathBuf::as_path)
            .chain([self.folder.path()])
        {
            let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
        }
    }
}
