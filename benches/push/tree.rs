//! The files of a large Python image: a few libraries of hundreds of megabytes, and tens of thousands of small files, each in a
//! package with a `RECORD`.
//!
//! Sizes are those of Python 3.11 with torch 1.13 and its CUDA wheels, transformers, spacy, scipy, pandas and jupyterlab (4,258 MB
//! in 46,839 files). Contents compress as theirs do: all of it to 0.47 with zstd at level 1. The same size and seed give the same
//! bytes, but for what bytecode notes about its source: when that was written.

use std::fmt::Write as _;
use std::fs::{File, create_dir_all};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

/// Size that the table is for (MB).
pub(super) const WHOLE: u32 = 4258;

/// Name, libraries (MB), modules (a source and its bytecode each), extension modules, other files.
type Package = (&'static str, &'static [u32], u32, u32, u32);

const PACKAGES: &[Package] = &[
    ("torch", &[760, 440, 240, 130, 60, 40], 1500, 10, 4500),
    ("nvidia_cudnn_cu11", &[570, 110, 110, 100, 90, 70], 3, 0, 20),
    ("nvidia_cublas_cu11", &[330, 150], 3, 0, 10),
    ("nvidia_cuda_nvrtc_cu11", &[42, 6], 3, 0, 10),
    ("triton", &[80], 200, 2, 60),
    ("pyarrow", &[40, 16], 200, 20, 400),
    ("transformers", &[], 2700, 0, 20),
    ("sympy", &[], 1500, 0, 10),
    ("scipy", &[], 900, 110, 200),
    ("spacy", &[], 900, 60, 200),
    ("pandas", &[], 800, 45, 150),
    ("numpy", &[], 500, 20, 200),
    ("scikit_learn", &[], 500, 70, 100),
    ("jupyterlab", &[], 50, 0, 2500),
    ("botocore", &[], 100, 0, 1500),
];

/// Packages of the same kind, small.
const SMALL: (u32, Package) = (72, ("package", &[], 120, 9, 14));

/// The one that changes.
const CHANGED: &str = "package_0";

/// Python 3.11's bytecode, checked by time. <https://peps.python.org/pep-0552/>
const BYTECODE_OF_3_11: [u8; 8] = [0xa7, 0x0d, 0x0d, 0x0a, 0, 0, 0, 0];

/// How bytes are made: as a compressor takes them apart, of literals and of copies of what is shortly before.
struct Mix {
    /// Of 256 pieces, so many are literals.
    literals: u64,
    /// Longest copy (bytes).
    longest: u64,
    /// Farthest copy, as a power of two.
    farthest: u64,
    text: bool,
}

/// zstd at level 1 makes 0.48 of it, at level 3 0.43, gzip 0.43. LLVM's library: 0.41, 0.35, 0.38; rustc's: 0.47, 0.42, 0.43.
const LIBRARY: Mix = Mix {
    literals: 145,
    longest: 24,
    farthest: 18,
    text: false,
};
const BYTECODE: Mix = Mix {
    literals: 110,
    longest: 24,
    farthest: 17,
    text: false,
};
const SOURCE: Mix = Mix {
    literals: 60,
    longest: 40,
    farthest: 19,
    text: true,
};
const OTHER: Mix = Mix {
    literals: 80,
    longest: 32,
    farthest: 18,
    text: true,
};

const LETTERS: &[u8; 32] = b"etaoinsrhldcumfpgwybvk_.(,\n  =x:";

/// Xorshift (Marsaglia 2003): fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Far apart, for seeds that are not.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self, text: bool) -> u8 {
        let draw = self.next();
        // Zeros are more frequent than ones, as in programs.
        let byte = (draw >> 8 & (draw >> 16 | draw >> 24)) as u8;
        if text {
            LETTERS[usize::from(byte & 31)]
        } else {
            byte
        }
    }

    fn fill(&mut self, buffer: &mut Vec<u8>, size: usize, mix: &Mix) {
        buffer.clear();
        while buffer.len() < size {
            let draw = self.next();
            let length = 4 + (draw >> 8) % mix.longest.min(1 + (draw >> 16 & 63));
            let farthest = 1 << (5 + (draw >> 56) % (mix.farthest - 4));
            let distance = (4 + (draw >> 24 & 0xffff_ffff) % farthest) as usize;
            if draw & 255 < mix.literals || distance >= buffer.len() {
                for _ in 0..3 {
                    let byte = self.byte(mix.text);
                    buffer.push(byte);
                }
                continue;
            }
            let start = buffer.len() - distance;
            let end = (start + length as usize).min(buffer.len());
            buffer.extend_from_within(start..end);
        }
        buffer.truncate(size);
    }
}

/// Writes the tree of so many megabytes below `root`, as `pip install` would; `is_upgraded` has one small package of another version.
pub(super) fn generate(root: &Path, megabytes: u32, seed: u64, is_upgraded: bool) {
    let scaled = |number: u32| (number * megabytes).div_ceil(WHOLE);
    let (count, small) = SMALL;
    let small = (0..scaled(count)).map(|number| (format!("{}_{number}", small.0), small));
    let all = PACKAGES
        .iter()
        .map(|package| (package.0.to_owned(), *package));
    let packages: Vec<(String, Package)> = all.chain(small).collect();
    let next = Mutex::new(packages.iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let take = || next.lock().unwrap().next();
                while let Some((name, (_, libraries, modules, extensions, others))) = take() {
                    let seed = seed + u64::from(is_upgraded && name == CHANGED);
                    let mut writer = Writer::new(root, name, seed);
                    for (number, size) in libraries.iter().enumerate() {
                        let size =
                            u64::from(*size) * 1_000_000 * u64::from(megabytes) / u64::from(WHOLE);
                        writer.file(&format!("{name}/lib/lib{name}_{number}.so"), size, &LIBRARY);
                    }
                    for number in 0..scaled(*modules) {
                        let size = writer.size(9_000);
                        let folder = format!("{name}/part{}", number / 40);
                        let source = format!("{folder}/module{number}.py");
                        writer.file(&source, size, &SOURCE);
                        let bytecode =
                            format!("{folder}/__pycache__/module{number}.cpython-311.pyc");
                        writer.bytecode(&bytecode, size, &source);
                    }
                    for number in 0..scaled(*extensions) {
                        let size = writer.size(400_000);
                        writer.file(
                            &format!("{name}/_ext{number}.cpython-311-x86_64-linux-gnu.so"),
                            size,
                            &LIBRARY,
                        );
                    }
                    for number in 0..scaled(*others) {
                        let size = writer.size(15_000);
                        writer.file(
                            &format!("{name}/data/{}/file{number}.h", number / 100),
                            size,
                            &OTHER,
                        );
                    }
                    writer.finish();
                }
            });
        }
    });
}

/// Writes one package.
struct Writer<'a> {
    root: &'a Path,
    name: &'a str,
    random: Random,
    buffer: Vec<u8>,
    record: String,
}

impl<'a> Writer<'a> {
    fn new(root: &'a Path, name: &'a str, seed: u64) -> Self {
        let number = name.bytes().fold(seed, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        Self {
            root,
            name,
            random: Random::new(number),
            buffer: Vec::new(),
            record: String::new(),
        }
    }

    /// Between a quarter of the mean and some four times as much.
    fn size(&mut self, mean: u64) -> u64 {
        let draw = self.random.next();
        mean * (64 + draw % 256 * (draw >> 8 & 255) * 3 / 256) / 256
    }

    fn file(&mut self, path: &str, size: u64, mix: &Mix) {
        let file = self.create(path);
        self.write(file, path, size, mix);
    }

    fn bytecode(&mut self, path: &str, size: u64, source: &str) {
        let source = std::fs::metadata(self.root.join(source)).unwrap();
        let written = source.modified().unwrap().duration_since(UNIX_EPOCH);
        let numbers = [written.unwrap().as_secs(), source.len()].map(|number| number as u32);
        let mut file = self.create(path);
        file.write_all(&BYTECODE_OF_3_11).unwrap();
        for number in numbers {
            file.write_all(&number.to_le_bytes()).unwrap();
        }
        self.write(file, path, size, &BYTECODE);
    }

    fn write(&mut self, mut file: BufWriter<File>, path: &str, size: u64, mix: &Mix) {
        let mut left = size;
        while left > 0 {
            let now = left.min(1 << 20);
            self.random.fill(&mut self.buffer, now as usize, mix);
            file.write_all(&self.buffer).unwrap();
            left -= now;
        }
        file.flush().unwrap();
        writeln!(self.record, "{path},,").unwrap();
    }

    fn create(&self, path: &str) -> BufWriter<File> {
        let path: PathBuf = self.root.join(path);
        create_dir_all(path.parent().unwrap()).unwrap();
        BufWriter::new(File::create(path).unwrap())
    }

    fn finish(self) {
        let path = format!("{}-1.0.dist-info/RECORD", self.name);
        self.create(&path)
            .write_all(self.record.as_bytes())
            .unwrap();
    }
}
