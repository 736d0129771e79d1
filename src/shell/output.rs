//! What a command answered.

/// Exit status and streams of one command, as bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; 128 + n for a command that signal n ended.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Ended by our time limit.
    pub timed_out: bool,
}

impl Output {
    /// A successful answer with this standard output.
    pub fn ok(stdout: impl Into<Vec<u8>>) -> Self {
        Self { stdout: stdout.into(), ..Self::default() }
    }

    /// A failed answer.
    pub fn failed(status: i32, stderr: impl Into<Vec<u8>>) -> Self {
        Self { status, stderr: stderr.into(), ..Self::default() }
    }

    /// Whether the exit status is 0.
    pub fn success(&self) -> bool {
        self.status == 0 && !self.timed_out
    }

    /// Standard output as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, invalid UTF-8 replaced.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}
