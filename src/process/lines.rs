//! Lines of a child's output, as they arrive.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Longer lines (bytes) are cut, so that no stream fills the memory. BuildKit's log chunks have 32 KiB.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// Lines of a stream. [`Lines::fill`] is cancel safe.
pub(super) struct Lines<R> {
    reader: Option<BufReader<R>>,
    line: Vec<u8>,
    complete: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(stream: Option<R>) -> Self {
        Self {
            reader: stream.map(|stream| BufReader::with_capacity(64 * 1024, stream)),
            line: Vec::new(),
            complete: false,
        }
    }

    pub(super) fn open(&self) -> bool {
        self.reader.is_some()
    }

    /// The line that [`Self::fill`] completed.
    pub(super) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\r").unwrap_or(&self.line)
    }

    /// Reads on until a line is complete (`true`) or the stream has ended (`false`).
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.complete) {
            self.line.clear();
        }
        while let Some(reader) = &mut self.reader {
            let buffer = reader.fill_buf().await?;
            if buffer.is_empty() {
                self.reader = None;
                self.complete = true;
                return Ok(!self.line.is_empty());
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(buffer.len());
            let kept = taken.min(MAX_LINE.saturating_sub(self.line.len()));
            self.line
                .extend_from_slice(buffer.get(..kept).unwrap_or_default());
            let consumed = taken + usize::from(end.is_some());
            reader.consume(consumed);
            if end.is_some() {
                self.complete = true;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(Some(text));
        let mut read = Vec::new();
        while lines.open() {
            if lines.fill().await.unwrap() {
                read.push(lines.line().to_vec());
            }
        }
        read
    }

    #[tokio::test]
    async fn every_line_comes_without_its_end() {
        assert_eq!(lines(b"a\r\n\nb").await, [&b"a"[..], b"", b"b"]);
        assert!(lines(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let long = vec![b'x'; MAX_LINE + 1000];
        let read = lines(&long).await;
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].len(), MAX_LINE);
    }
}
