//! The conversation with a host's shell: the start, then frame by frame.

use super::Transport;
use super::endpoint::Endpoint;
use super::error::TransportError;
use super::link::{Event, Events, Keeper, Link};
use crate::shell::limits::{ANSWER, ERRORS, Excess, SHOWN, SLOWEST, bytes};
use crate::shell::{Decoder, Frame, ItemReply, Record, Wire, compile, hello, parse};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Round trips and bytes of a connection, counted behind encryption and compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Times we waited for the host, after authentication.
    pub round_trips: u64,
    /// Bytes to the host.
    pub bytes_up: u64,
    /// Bytes from the host.
    pub bytes_down: u64,
}

/// What a host said when it was first spoken to.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// Kernel name, release and machine.
    pub uname: String,
    /// Account that logged in, where the host says so: before any change of the account.
    pub login: Option<String>,
    /// Account of the shell, by name.
    pub account: String,
    /// Account of the shell, by number.
    pub uid: u32,
    /// Tools that we may need and that are missing.
    pub missing: Vec<String>,
    /// Another run that holds the host: its name, the process of its shell there, and what it says of itself.
    pub held: Option<[String; 3]>,
    /// Replies to the first frame.
    pub replies: Vec<ItemReply>,
}

/// A host's shell.
pub struct Session {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    events: Events,
    keeper: Keeper,
    decoder: Decoder,
    nonce: String,
    number: u64,
    silence: Duration,
    traffic: Traffic,
    /// Tail of what came on standard error, for the message when the connection ends.
    said: VecDeque<u8>,
    /// Bytes on standard error in this frame.
    errors: usize,
    /// When the host last said something that belongs to an answer, or took in what it was sent. Noise is no sign of life.
    sign: Instant,
    /// Bytes of the frame that had come when that was looked at last.
    heard: usize,
    /// When the frame under way must be over, whatever heartbeats come: its beginning and the seconds for it.
    due: (Instant, u64),
    /// Set while a frame is under way: when its future was dropped, the stream is somewhere in its middle.
    broken: bool,
}

/// How long a tool that has complained about a password may still come to another mind.
const PATIENCE: Duration = Duration::from_secs(3);

/// Seconds beyond the limits of what is run, for a host that is only busy.
const SLACK: u64 = 10;

/// The unforgeable mark of a connection.
pub(super) fn nonce() -> Result<String, TransportError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| TransportError::config("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Session {
    /// Waits for the shell where a password has to be given first, then says hello.
    pub(super) async fn start(
        link: Link,
        endpoint: &Endpoint,
        nonce: String,
        first: &Frame,
    ) -> Result<(Self, Greeting), TransportError> {
        let mut session = Self {
            writer: link.writer,
            events: link.events,
            keeper: link.keeper,
            decoder: Decoder::new(&nonce),
            nonce,
            number: 1,
            silence: endpoint.silence,
            traffic: Traffic::default(),
            said: VecDeque::new(),
            errors: 0,
            sign: Instant::now(),
            heard: 0,
            due: (Instant::now(), first.seconds()),
            broken: true,
        };
        let change = endpoint.change();
        if let Some(password) = change.and_then(|change| change.password.as_ref()) {
            // The password alone: more lines would be taken for more (wrong) passwords and lock the account.
            let line = zeroize::Zeroizing::new(format!("{}\n", password.expose()));
            session.send(&[line.as_bytes()]).await?;
        }
        let wire = hello(first, &session.nonce, session.number, endpoint.hold.as_ref());
        let ready = change.is_some_and(|change| change.password.is_some());
        if !ready {
            session.send_wire(&wire).await?;
        }
        session.wait_ready(endpoint).await?;
        if ready {
            session.send_wire(&wire).await?;
        }
        let hello = session.hello(endpoint).await?;
        let records = session.collect().await?;
        let greeting = greet(&hello, parse(first, records));
        session.broken = false;
        Ok((session, greeting))
    }

    /// Ends the connection at once, whatever runs.
    pub fn cancel(self) {
        drop(self);
    }

    /// Who the host is: the first thing that it says, before anything that could take time.
    async fn hello(&mut self, endpoint: &Endpoint) -> Result<Record, TransportError> {
        let seconds = endpoint.timeout.as_secs();
        self.due.0 = Instant::now();
        let record = tokio::time::timeout(endpoint.timeout, self.record()).await;
        let record = record
            .map_err(|_| TransportError::Timeout { what: "the host's first answer".to_owned(), seconds })??;
        match record.name.as_str() {
            "hello" if record.body.len() <= ANSWER => Ok(record),
            "hello" => Err(TransportError::protocol(format!(
                "it said who it is in more than {}",
                bytes(ANSWER as u64)
            ))),
            "refuse" => Err(refused(&record)),
            _ => Err(TransportError::protocol("it did not say who it is before anything else")),
        }
    }

    async fn wait_ready(&mut self, endpoint: &Endpoint) -> Result<(), TransportError> {
        let change = endpoint.change();
        let asked = change.is_some_and(|change| change.password.is_some());
        let ready = tokio::time::timeout(endpoint.timeout, async {
            if asked {
                self.give_up_on_refusal().await?;
            }
            self.record().await
        });
        let ready = ready.await;
        match ready {
            Ok(Ok(record)) if record.name == "ready" => Ok(()),
            Ok(Ok(_)) => Err(TransportError::Shell { why: "it answered out of turn".to_owned() }),
            Err(_) => Err(TransportError::Timeout {
                what: match change {
                    Some(change) => format!("becoming `{}` by `{}`", change.user, change.method.name()),
                    None => "the login shell".to_owned(),
                },
                seconds: endpoint.timeout.as_secs(),
            }),
            Ok(Err(TransportError::Lost { why })) => {
                let mut said = self.last_words();
                let out = String::from_utf8_lossy(&self.decoder.rest()).trim().to_owned();
                let secret = change.and_then(|change| change.password.as_ref());
                for words in [out, why] {
                    if said.is_empty() {
                        said = words;
                    }
                }
                if let Some(secret) = secret.map(|secret| secret.expose()).filter(|secret| !secret.is_empty())
                {
                    said = said.replace(secret, crate::shell::MASK);
                }
                let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                let said = lines.join("; ");
                let of_tool = |change: &&super::Become| {
                    let name = change.method.name();
                    change.password.is_some() || said.contains(name)
                };
                match change.filter(of_tool) {
                    Some(change) => Err(TransportError::Become {
                        method: change.method.name().to_owned(),
                        user: change.user.clone(),
                        said,
                        given: change.password.is_some(),
                    }),
                    None => Err(TransportError::Shell { why: said }),
                }
            }
            Ok(Err(error)) => Err(error),
        }
    }

    /// After a wrong password the tool waits for the next one. What it says is not for us to understand, but where it
    /// says something and then falls silent, there will be no shell: the end of its input makes it give up.
    async fn give_up_on_refusal(&mut self) -> Result<(), TransportError> {
        let mut said = false;
        while self.decoder.is_quiet() {
            let wait = if said { PATIENCE } else { self.silence };
            match tokio::time::timeout(wait, self.events.recv()).await {
                Ok(Some(Event::Err(bytes))) => {
                    self.complain(&bytes)?;
                    said = true;
                }
                Ok(Some(event)) => return self.take(Some(event)),
                Ok(None) => return self.take(None),
                Err(_) => {
                    let _ = self.writer.shutdown().await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send_wire(&mut self, wire: &Wire) -> Result<(), TransportError> {
        let head = wire.head(&self.nonce);
        let mut parts: Vec<&[u8]> = vec![&head];
        parts.extend(wire.payloads.iter().map(|payload| payload.as_ref()));
        self.send(&parts).await
    }

    /// Writes while taking in what comes, so that neither side waits for the other.
    async fn send(&mut self, parts: &[&[u8]]) -> Result<(), TransportError> {
        /// What is written at once: every piece that the host takes is a sign of life.
        const PIECE: usize = 64 << 10;
        self.traffic.bytes_up += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.traffic.round_trips += 1;
        self.sign = Instant::now();
        for (number, piece) in parts.iter().flat_map(|part| part.chunks(PIECE)).chain([&[][..]]).enumerate() {
            // The last one, without bytes, is the flush.
            let flush = piece.is_empty() && number > 0;
            let end = {
                let writer = &mut self.writer;
                let mut write = std::pin::pin!(async {
                    match flush {
                        true => writer.flush().await,
                        false => writer.write_all(piece).await,
                    }
                });
                loop {
                    tokio::select! {
                        written = &mut write => match written {
                            Ok(()) => break None,
                            // The reason is on the other stream: why the shell ended.
                            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                            Err(error) => return Err(TransportError::lost(error)),
                        },
                        event = self.events.recv() => match event {
                            Some(Event::Out(bytes)) => {
                                self.traffic.bytes_down += bytes.len() as u64;
                                self.decoder.push(&bytes)?;
                            }
                            Some(Event::Err(bytes)) => complain(&mut self.said, &mut self.errors, &bytes)?,
                            end => break Some(end),
                        },
                        () = tokio::time::sleep_until(self.sign + self.silence) => {
                            return Err(silent(self.silence));
                        }
                    }
                }
            };
            if let Some(end) = end {
                self.take(end)?;
            }
            self.sign = Instant::now();
        }
        Ok(())
    }

    /// The records up to the end of the frame under way.
    async fn collect(&mut self) -> Result<Vec<Record>, TransportError> {
        let mut records = Vec::new();
        loop {
            let record = self.record().await?;
            match record.name.as_str() {
                "hb" | "ready" => {}
                "refuse" => return Err(refused(&record)),
                "end" if record.fields == [self.number.to_string()] => return Ok(records),
                _ => records.push(record),
            }
        }
    }

    async fn record(&mut self) -> Result<Record, TransportError> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                self.sign = Instant::now();
                return Ok(record);
            }
            if self.decoder.is_within() && self.decoder.taken() > self.heard {
                self.sign = Instant::now();
            }
            self.heard = self.decoder.taken();
            let (begun, seconds) = self.due;
            let seconds = seconds + (self.heard / SLOWEST) as u64 + self.silence.as_secs() + SLACK;
            let due = begun + Duration::from_secs(seconds);
            let event = tokio::time::timeout_at(due.min(self.sign + self.silence), self.events.recv()).await;
            let event = event.map_err(|_| match Instant::now() < due {
                true => silent(self.silence),
                false => TransportError::protocol(format!(
                    "it was to be done within {seconds} s, and only says that it lives"
                )),
            })?;
            self.take(event)?;
        }
    }

    /// Takes in what came; an error when that is the end.
    fn take(&mut self, event: Option<Event>) -> Result<(), TransportError> {
        match event {
            Some(Event::Out(bytes)) => {
                self.traffic.bytes_down += bytes.len() as u64;
                Ok(self.decoder.push(&bytes)?)
            }
            Some(Event::Err(bytes)) => Ok(self.complain(&bytes)?),
            Some(Event::Exit(status)) => {
                while let Some(event) = self.events.try_recv() {
                    match event {
                        Event::Out(bytes) => self.decoder.push(&bytes)?,
                        Event::Err(bytes) => self.complain(&bytes)?,
                        Event::Exit(_) | Event::Broken(_) => {}
                    }
                }
                Err(ended(status, &self.said))
            }
            Some(Event::Broken(why)) => Err(TransportError::lost(why)),
            None => {
                let words = self.last_words();
                let why = match words.is_empty() {
                    true => "the host closed it, or nothing came through any more".to_owned(),
                    false => words,
                };
                Err(TransportError::lost(why))
            }
        }
    }

    fn complain(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        complain(&mut self.said, &mut self.errors, bytes)
    }

    fn last_words(&self) -> String {
        words(&self.said)
    }
}

impl Transport for Session {
    async fn frame(&mut self, frame: &Frame) -> Result<Vec<ItemReply>, TransportError> {
        if self.broken {
            return Err(TransportError::lost("an earlier frame was broken off"));
        }
        self.broken = true;
        self.number += 1;
        self.decoder.next_frame();
        (self.errors, self.heard) = (0, 0);
        let wire = compile(frame, self.number);
        self.send_wire(&wire).await?;
        self.due = (Instant::now(), frame.seconds());
        let records = self.collect().await?;
        let replies = parse(frame, records);
        self.broken = false;
        Ok(replies)
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    async fn close(mut self) {
        let _ = self.writer.shutdown().await;
        let ended =
            async { while self.events.recv().await.is_some_and(|event| !matches!(event, Event::Exit(_))) {} };
        // The shell has only a directory to remove.
        let _ = tokio::time::timeout(Duration::from_secs(3), ended).await;
        drop(self.keeper);
    }
}

fn greet(record: &Record, replies: Vec<ItemReply>) -> Greeting {
    let text = String::from_utf8_lossy(&record.body);
    let mut lines = text.lines();
    let uname = lines.next().unwrap_or_default().to_owned();
    let id = lines.next().unwrap_or_default();
    let uid: String = id.trim_start_matches("uid=").chars().take_while(char::is_ascii_digit).collect();
    let account = id.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(name, _)| name);
    Greeting {
        uname,
        account: account.to_owned(),
        uid: uid.parse().unwrap_or(u32::MAX),
        missing: lines.next().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect(),
        login: lines.next().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned),
        held: lines.next().and_then(|line| {
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            Some([words.next()?, words.next()?, words.next()?])
        }),
        replies,
    }
}

/// Keeps the end of what comes on standard error, up to a limit in all.
fn complain(said: &mut VecDeque<u8>, errors: &mut usize, bytes: &[u8]) -> Result<(), Excess> {
    *errors = errors.saturating_add(bytes.len());
    if *errors > ERRORS {
        return Err(Excess::Errors);
    }
    said.extend(&bytes[bytes.len().saturating_sub(SHOWN)..]);
    let excess = said.len().saturating_sub(SHOWN);
    said.drain(..excess);
    Ok(())
}

fn silent(silence: Duration) -> TransportError {
    TransportError::lost(format!("no sign of life for {} s", silence.as_secs()))
}

fn refused(record: &Record) -> TransportError {
    let why = &record.body[..record.body.len().min(SHOWN)];
    TransportError::Shell { why: String::from_utf8_lossy(why).into_owned() }
}

fn words(said: &VecDeque<u8>) -> String {
    let bytes: Vec<u8> = said.iter().copied().collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn ended(status: i32, said: &VecDeque<u8>) -> TransportError {
    let words = words(said);
    let why = match status {
        99 => {
            let why = "`dd` on the host is missing, or cannot do `iflag=fullblock`".to_owned();
            return TransportError::Shell { why };
        }
        _ if words.is_empty() => format!("its shell ended with status {status}"),
        _ => words,
    };
    TransportError::lost(why)
}
