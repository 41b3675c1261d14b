//! SPDY/3.1 as `kubectl exec` and buildx speak it: frames in, frames out.
//!
//! Four streams (error, stdin, stdout, stderr), no windows, no settings
//! (<https://github.com/moby/spdystream>, <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>).
//! A header block is zlib with a preset dictionary, one context for the whole connection; replies
//! need no compressor, since an empty block is a constant.

use anyhow::{Context as _, Result, bail};
use flate2::{Decompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Open { id: u32, stream_type: String },
    Data { id: u32, bytes: Vec<u8>, last: bool },
    Ping(u32),
    Reset(u32),
    GoAway,
}

/// Reads frames. Strict: what the protocol forbids is an error.
pub(crate) struct Reader<R> {
    input: R,
    inflate: Decompress,
    last_id: u32,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            inflate: Decompress::new(true),
            last_id: 0,
        }
    }

    /// The next frame; none at the end of the connection, which clients cut wherever they are.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        let mut head = [0; 8];
        if self.input.read_exact(&mut head).await.is_err() {
            return Ok(None);
        }
        let [a, b, c, d, flags, e, f, g] = head;
        let length = usize::try_from(u32::from_be_bytes([0, e, f, g]))?;
        let mut body = vec![0; length];
        if self.input.read_exact(&mut body).await.is_err() {
            return Ok(None);
        }
        if a & 0x80 == 0 {
            return Ok(Some(Frame::Data {
                id: u32::from_be_bytes([a, b, c, d]),
                bytes: body,
                last: flags & FIN != 0,
            }));
        }
        if u16::from_be_bytes([a, b]) != VERSION {
            bail!("a control frame of another version: {head:02x?}");
        }
        let word = |at: usize| -> Result<u32> {
            let bytes = body.get(at..at + 4).context("a frame that is too short")?;
            Ok(u32::from_be_bytes(bytes.try_into()?))
        };
        Ok(Some(match u16::from_be_bytes([c, d]) {
            SYN_STREAM => {
                let id = word(0)?;
                if id % 2 == 0 || id <= self.last_id {
                    bail!("stream {id} after stream {}", self.last_id);
                }
                self.last_id = id;
                let headers = self.headers(body.get(10..).context("no header block")?)?;
                let [(name, stream_type)] = headers.as_slice() else {
                    bail!("not one header: {headers:?}");
                };
                if name != "streamtype" {
                    bail!("unknown header `{name}`");
                }
                Frame::Open {
                    id,
                    stream_type: stream_type.clone(),
                }
            }
            RST_STREAM => Frame::Reset(word(0)?),
            PING => Frame::Ping(word(0)?),
            GOAWAY => Frame::GoAway,
            other => bail!("frame type {other}, which clients of exec don't send"),
        }))
    }

    fn headers(&mut self, compressed: &[u8]) -> Result<Vec<(String, String)>> {
        let mut plain = Vec::with_capacity(4096);
        let before = self.inflate.total_in();
        loop {
            let used = usize::try_from(self.inflate.total_in() - before)?;
            let rest = compressed.get(used..).unwrap_or_default();
            let result = self
                .inflate
                .decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(&dictionary())?;
                }
                Err(error) => return Err(error).context("inflating a header block"),
                Ok(_) if self.inflate.total_in() - before == u64::try_from(compressed.len())? => {
                    break;
                }
                Ok(_) if plain.len() == plain.capacity() => bail!("a header block beyond 4 KiB"),
                Ok(_) => {}
            }
        }
        let mut rest = plain.as_slice();
        let count = number(&mut rest)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((text(&mut rest)?, text(&mut rest)?));
        }
        if !rest.is_empty() {
            bail!("bytes after the last header");
        }
        Ok(headers)
    }
}

fn number(rest: &mut &[u8]) -> Result<u32> {
    let (head, tail) = rest
        .split_first_chunk::<4>()
        .context("a header block that ends early")?;
    *rest = tail;
    Ok(u32::from_be_bytes(*head))
}

fn text(rest: &mut &[u8]) -> Result<String> {
    let length = usize::try_from(number(rest)?)?;
    let (head, tail) = rest
        .split_at_checked(length)
        .context("a header that ends early")?;
    *rest = tail;
    Ok(String::from_utf8(head.to_vec())?)
}

/// Writes frames, each with one write: a client that reads a header block in pieces gives up.
pub(crate) struct Writer<W> {
    output: W,
    replied: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            output,
            replied: false,
        }
    }

    /// Accepts a stream, with no headers.
    pub(crate) async fn reply(&mut self, id: u32) -> Result<()> {
        let mut body = id.to_be_bytes().to_vec();
        if !self.replied {
            // zlib's header with the dictionary's checksum.
            body.extend([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
            self.replied = true;
        }
        // A stored block with the number 0, and the mark of a sync flush, without which Go's
        // inflater stays in an error.
        body.extend([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        body.extend([0, 0, 0, 0xff, 0xff]);
        self.control(SYN_REPLY, &body).await
    }

    pub(crate) async fn data(&mut self, id: u32, bytes: &[u8], last: bool) -> Result<()> {
        let mut frame = id.to_be_bytes().to_vec();
        self.finish(&mut frame, if last { FIN } else { 0 }, bytes)
            .await
    }

    pub(crate) async fn ping(&mut self, id: u32) -> Result<()> {
        self.control(PING, &id.to_be_bytes()).await
    }

    pub(crate) async fn close(&mut self) -> Result<()> {
        Ok(self.output.shutdown().await?)
    }

    async fn control(&mut self, kind: u16, body: &[u8]) -> Result<()> {
        let mut frame = VERSION.to_be_bytes().to_vec();
        frame.extend(kind.to_be_bytes());
        self.finish(&mut frame, 0, body).await
    }

    async fn finish(&mut self, frame: &mut Vec<u8>, flags: u8, body: &[u8]) -> Result<()> {
        let [_, length @ ..] = u32::try_from(body.len())?.to_be_bytes();
        frame.push(flags);
        frame.extend(length);
        frame.extend(body);
        self.output.write_all(frame).await?;
        Ok(self.output.flush().await?)
    }
}

/// The words that every header block may refer to (draft 3.1, section 2.6.10.1).
fn dictionary() -> Vec<u8> {
    const NAMES: &str = "options head post put delete trace accept accept-charset accept-encoding \
        accept-language accept-ranges age allow authorization cache-control connection content-base \
        content-encoding content-language content-length content-location content-md5 content-range \
        content-type date etag expect expires from host if-match if-modified-since if-none-match \
        if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate \
        proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
        user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url \
        public set-cookie keep-alive origin";
    const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415\
        416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad \
        Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not \
        Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 \
        Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
        application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,\
        deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut bytes = Vec::new();
    for name in NAMES.split_whitespace() {
        let name = name.replace('_', " ");
        bytes.extend(u32::try_from(name.len()).unwrap_or_default().to_be_bytes());
        bytes.extend(name.into_bytes());
    }
    bytes.extend(REST.bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    /// SYN_STREAM frames as a client makes them: one compressor, a sync flush after each block.
    fn opened(types: &[&str]) -> Vec<u8> {
        let mut deflate = Compress::new(Compression::default(), true);
        deflate.set_dictionary(&dictionary()).unwrap();
        let mut bytes = Vec::new();
        for (index, stream_type) in types.iter().enumerate() {
            let mut block = 1u32.to_be_bytes().to_vec();
            for text in ["streamtype", stream_type] {
                block.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                block.extend(text.bytes());
            }
            let mut compressed = Vec::with_capacity(256);
            deflate
                .compress_vec(&block, &mut compressed, FlushCompress::Sync)
                .unwrap();
            bytes.extend([0x80, 3, 0, 1, 0]);
            let length = u32::try_from(compressed.len() + 10).unwrap().to_be_bytes();
            bytes.extend(&length[1..]);
            bytes.extend(u32::try_from(2 * index + 1).unwrap().to_be_bytes());
            bytes.extend([0, 0, 0, 0, 0, 0]);
            bytes.extend(compressed);
        }
        bytes
    }

    #[test]
    fn the_dictionary_is_the_protocols() {
        let bytes = dictionary();
        let (mut a, mut b) = (1u32, 0u32);
        for byte in &bytes {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(bytes.len(), 1423);
        assert_eq!((b << 16) | a, 0xe3c6_a7c2);
    }

    #[tokio::test]
    async fn reads_the_four_streams_of_an_exec_and_its_data() {
        let mut bytes = opened(&["error", "stdin", "stdout", "stderr"]);
        bytes.extend([0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
        bytes.extend([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9]);
        let mut reader = Reader::new(bytes.as_slice());
        for (index, expected) in ["error", "stdin", "stdout", "stderr"].iter().enumerate() {
            let frame = reader.next().await.unwrap().unwrap();
            let id = u32::try_from(2 * index + 1).unwrap();
            let stream_type = (*expected).to_owned();
            assert_eq!(frame, Frame::Open { id, stream_type });
        }
        let data = reader.next().await.unwrap().unwrap();
        let bytes = b"hi".to_vec();
        let last = true;
        assert_eq!(data, Frame::Data { id: 3, bytes, last });
        assert_eq!(reader.next().await.unwrap(), Some(Frame::Ping(9)));
        assert_eq!(reader.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn refuses_streams_out_of_order_and_other_versions() {
        let mut twice = opened(&["error"]);
        twice.extend(opened(&["stdin"]));
        let mut reader = Reader::new(twice.as_slice());
        reader.next().await.unwrap();
        assert!(reader.next().await.is_err());
        let old = [0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9];
        assert!(Reader::new(old.as_slice()).next().await.is_err());
    }

    #[tokio::test]
    async fn only_the_first_reply_has_zlibs_header() {
        let mut output = Vec::new();
        let mut writer = Writer::new(&mut output);
        writer.reply(1).await.unwrap();
        writer.reply(3).await.unwrap();
        assert_eq!(output.len(), 8 + 4 + 6 + 14 + 8 + 4 + 14);
        assert_eq!(output[7], 24);
        assert_eq!(output[12..14], [0x78, 0xbb]);
    }
}
