//! What a host sends back: a stream of records.
//!
//! A record is a line `NONCE NAME FIELDS... LENGTH` behind a line end, then `LENGTH` bytes. The nonce is made anew for
//! every connection, so nothing that a login script or a late background job prints can be taken for a record. What a
//! host may send is limited by [`super::limits`]; nothing it sends costs more time than its length.

use super::limits::{Excess, FRAME, HEAD, HEADS, SHOWN};

/// One record of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub name: String,
    /// Its fields without the length.
    pub fields: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Record {
    pub(super) fn number(&self, index: usize) -> Option<usize> {
        self.fields.get(index)?.parse().ok()
    }
}

/// Cuts a stream into records; feed it as bytes arrive.
#[derive(Debug)]
pub struct Decoder {
    mark: Vec<u8>,
    /// What arrived and is not looked at, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    /// How far behind `at` the mark, or the end of a head, was looked for in vain.
    searched: usize,
    /// The record whose body is on its way, and its length.
    open: Option<(Record, usize)>,
    /// The beginning of what belongs to no record.
    noise: Vec<u8>,
    /// Bytes and heads of this frame so far.
    taken: usize,
    heads: usize,
}

impl Decoder {
    /// A decoder for the records of one connection.
    pub fn new(nonce: &str) -> Self {
        Self {
            mark: format!("\n{nonce} ").into_bytes(),
            buffer: Vec::new(),
            at: 0,
            searched: 0,
            open: None,
            noise: Vec::new(),
            taken: 0,
            heads: 0,
        }
    }

    /// A new frame goes out: what comes from now on is counted anew.
    pub fn next_frame(&mut self) {
        self.taken = self.buffer.len() - self.at;
        self.heads = 0;
    }

    /// Takes in bytes.
    ///
    /// # Errors
    /// The host says more than a frame may hold.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.taken > FRAME {
            return Err(Excess::Frame);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes that came for this frame.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Whether a record is on its way.
    pub fn is_within(&self) -> bool {
        self.open.is_some()
    }

    /// Whether nothing arrived that belongs to no record (yet).
    pub fn is_quiet(&self) -> bool {
        self.noise.is_empty() && self.at == self.buffer.len()
    }

    /// What arrived and belongs to no record (yet): noise of a login script, or a shell's last words.
    pub fn rest(&self) -> Vec<u8> {
        let more = &self.buffer[self.at..];
        let room = SHOWN.saturating_sub(self.noise.len()).min(more.len());
        [&self.noise, &more[..room]].concat()
    }

    /// The next whole record.
    ///
    /// # Errors
    /// The host announces or sends more than it may.
    pub fn next_record(&mut self) -> Result<Option<Record>, Excess> {
        loop {
            if let Some((record, length)) = &mut self.open {
                let wanted = (*length - record.body.len()).min(self.buffer.len() - self.at);
                record.body.extend_from_slice(&self.buffer[self.at..self.at + wanted]);
                let whole = record.body.len() == *length;
                self.advance(wanted);
                if !whole {
                    return Ok(None);
                }
                self.noise.clear();
                return Ok(self.open.take().map(|(record, _)| record));
            }
            let left = &self.buffer[self.at..];
            if !left.starts_with(&self.mark) {
                if !left.is_empty() && self.mark.starts_with(left) {
                    return Ok(None);
                }
                // Everything before the next beginning of a mark is noise.
                let nonce = self.mark.get(1).copied();
                let next = (1..left.len()).find(|place| {
                    left[*place] == b'\n' && left.get(place + 1).is_none_or(|byte| Some(*byte) == nonce)
                });
                match next {
                    Some(place) => self.skip(place),
                    None => {
                        self.skip(left.len());
                        return Ok(None);
                    }
                }
                continue;
            }
            let head = self.mark.len();
            let from = self.searched.max(head);
            let Some(end) = left[from..].iter().position(|byte| *byte == b'\n').map(|end| from + end) else {
                self.searched = left.len();
                return if left.len() > HEAD { Err(Excess::Heads) } else { Ok(None) };
            };
            let record = announced(&left[head..end])?;
            match record {
                Some((record, length)) => {
                    if record.name != "hb" {
                        self.heads += end;
                    }
                    if self.heads > HEADS || end > HEAD {
                        return Err(Excess::Heads);
                    }
                    self.open = Some((record, length));
                    self.advance(end + 1);
                }
                // The line end behind it may begin the next mark.
                None => self.skip(end),
            }
        }
    }

    /// Goes on behind what belongs to no record.
    fn skip(&mut self, count: usize) {
        let room = SHOWN.saturating_sub(self.noise.len()).min(count);
        self.noise.extend_from_slice(&self.buffer[self.at..self.at + room]);
        self.advance(count);
    }

    fn advance(&mut self, count: usize) {
        self.at += count;
        self.searched = 0;
        // What was looked at goes when it is the larger part: every byte is moved once at most.
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(HEAD);
            self.at = 0;
        } else if self.at > self.buffer.len() / 2 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }
}

/// A record without its body and the body's length, from a head; `None` when it is none.
fn announced(head: &[u8]) -> Result<Option<(Record, usize)>, Excess> {
    let line = String::from_utf8_lossy(head);
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(length)) = (words.next(), words.next_back()) else { return Ok(None) };
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let length = match length.parse::<usize>() {
        Ok(length) if length <= FRAME => length,
        _ => return Err(Excess::Record(length.chars().take(24).collect())),
    };
    let fields = words.map(str::to_owned).collect();
    Ok(Some((Record { name: name.to_owned(), fields, body: Vec::with_capacity(length) }, length)))
}

#[cfg(test)]
mod tests {
    use super::super::limits::ANSWER;
    use super::*;

    fn decode(text: &[u8], piece: usize) -> Result<Vec<Record>, Excess> {
        let mut decoder = Decoder::new("n0");
        let mut records = Vec::new();
        for piece in text.chunks(piece.max(1)) {
            decoder.push(piece)?;
            while let Some(record) = decoder.next_record()? {
                records.push(record);
            }
        }
        Ok(records)
    }

    fn shown(text: &[u8], piece: usize) -> String {
        match decode(text, piece) {
            Ok(records) => records
                .iter()
                .map(|r| format!("{} {:?} {:?}", r.name, r.fields, String::from_utf8_lossy(&r.body)))
                .collect::<Vec<_>>()
                .join("; "),
            Err(excess) => format!("error: {excess}"),
        }
    }

    #[test]
    fn records_are_cut_out_of_whatever_comes_and_however_it_is_cut() {
        for (text, wanted) in [
            ("\nn0 a 0\n", "a [] \"\""),
            ("motd\n\nn0 a 1 2 3\nxyz\nn0 b 0\n", "a [\"1\", \"2\"] \"xyz\"; b [] \"\""),
            ("\nn0 a 8\n\nn0 b 0\n\nn0 c 0\n", "a [] \"\\nn0 b 0\\n\"; c [] \"\""),
            ("\nn0 \nn0 x\nn0 a -1\nn0 a 1e3\nn0 a 2\nok", "a [] \"ok\""),
            ("\n\nn\nn0\nn0 a 1\n\n", "a [] \"\\n\""),
            ("n0 a 0\n", ""),
            ("\nn1 a 0\n", ""),
            (
                "\nn0 hello 18446744073709551615\n",
                "error: it announced an answer of 18446744073709551615 bytes; at most 24 MB are taken",
            ),
            (
                "\nn0 hello 99999999999999999999999999999\n",
                "error: it announced an answer of 999999999999999999999999 bytes; at most 24 MB are taken",
            ),
            (
                "\nn0 hello 25165825\n",
                "error: it announced an answer of 25165825 bytes; at most 24 MB are taken",
            ),
        ] {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(shown(text.as_bytes(), piece), wanted, "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_too_much_is_refused_in_time() {
        let begun = std::time::Instant::now();
        let flood = vec![b'A'; FRAME + 1];
        assert_eq!(decode(&flood, 65536), Err(Excess::Frame));
        assert_eq!(decode(&[b"\nn0 x 0\n".as_slice(), &flood].concat(), 65536), Err(Excess::Frame));
        assert_eq!(decode(&b"\nn0 x".repeat(ANSWER), 65536).map(|records| records.len()), Ok(0));
        assert_eq!(decode(&b"\nn0 x 0".repeat(ANSWER), 65536), Err(Excess::Heads));
        assert_eq!(decode(&[b"\nn0 ".as_slice(), &b"1 ".repeat(HEAD)].concat(), 1000), Err(Excess::Heads));
        assert_eq!(decode(&b"\n".repeat(ANSWER), 65536).map(|records| records.len()), Ok(0));
        // A head that comes byte by byte is not looked at from its beginning each time.
        assert_eq!(decode(&[b"\nn0 ".as_slice(), &[b'1'; HEAD]].concat(), 1), Err(Excess::Heads));
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_frame_is_counted_for_itself() {
        let mut decoder = Decoder::new("n0");
        let length = FRAME / 2 - 100;
        let body = [format!("\nn0 a {length}\n").into_bytes(), vec![b'x'; length]].concat();
        for _ in 0..4 {
            decoder.next_frame();
            decoder.push(&body).expect("below the limit");
            assert_eq!(decoder.next_record().expect("whole").expect("one").body.len(), length);
        }
        assert!(decoder.is_quiet());
        decoder.push(&body).expect("below the limit");
        assert_eq!(decoder.push(&body), Err(Excess::Frame));
    }

    #[test]
    fn what_belongs_to_no_record_can_be_shown() {
        let mut decoder = Decoder::new("n0");
        decoder.push(b"Welcome\nlast words").expect("short");
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(!decoder.is_quiet());
        assert_eq!(decoder.rest(), b"Welcome\nlast words");
        decoder.push(&[b'z'; 100_000]).expect("short");
        assert_eq!(decoder.next_record(), Ok(None));
        assert_eq!(decoder.rest().len(), SHOWN);
    }
}
