//! Where the RAM goes when everything that may be in use is in use at once.

use super::units::Bytes;
use serde::Serialize;

/// The sum that proves the settings fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The RAM of the host.
    pub ram: Bytes,
    /// What it is spent on; with `free`, exactly the RAM.
    pub lines: Vec<Line>,
    /// What nothing has a claim on: page cache beyond the reserve.
    pub free: Bytes,
}

/// One claim on the RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Whose claim it is.
    pub part: Part,
    /// How much at most.
    pub size: Bytes,
}

/// What claims RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Operating system, its page cache reserve, other programs.
    Os,
    /// The server's shared memory: shared_buffers and what goes with it.
    Shared,
    /// Backends, one for every connection.
    Backends,
    /// Code that backends compile.
    Jit,
    /// Page tables of the backends over shared_buffers.
    PageTables,
    /// Autovacuum workers.
    Autovacuum,
    /// One index build or VACUUM by hand.
    Maintenance,
    /// Logical decoding.
    Decoding,
    /// Sorts and hashes of all active backends and parallel workers.
    WorkMem,
}

/// Parts in the order of the bar, with their short names.
const BAR: [(&str, &[Part]); 7] = [
    ("shared", &[Part::Shared]),
    ("page tables", &[Part::PageTables]),
    ("backends", &[Part::Backends, Part::Jit]),
    ("work", &[Part::WorkMem]),
    ("vacuum", &[Part::Autovacuum, Part::Maintenance]),
    ("decoding", &[Part::Decoding]),
    ("OS", &[Part::Os]),
];
/// Blocks that the whole RAM is drawn with.
const BLOCKS: u64 = 26;

impl Budget {
    /// The budget of `ram` with these claims, or the claims when they are more than there is.
    pub(super) fn new(ram: Bytes, lines: Vec<Line>) -> Result<Self, Vec<Line>> {
        let sum: Bytes = lines.iter().map(|line| line.size).sum();
        if sum > ram {
            return Err(lines);
        }
        Ok(Self { ram, free: ram.less(sum), lines })
    }

    /// What one part claims; 0 where it does not occur.
    pub fn size(&self, part: Part) -> Bytes {
        self.lines.iter().filter(|line| line.part == part).map(|line| line.size).sum()
    }

    /// One line that shows the shares at a glance, sizes in the unit of the total:
    /// `memory   8.0 GB |■■■■■■■ shared 2.1|■■■■ page tables 1.2|...|· 0.5 free`.
    pub fn bar(&self) -> String {
        let (unit, size) = if self.ram >= Bytes::gb(1) { ("GB", 1_u64 << 30) } else { ("MB", 1 << 20) };
        let number = |bytes: Bytes| {
            let tenths = (u128::from(bytes.0) * 10 + u128::from(size) / 2) / u128::from(size);
            if unit == "MB" {
                format!("{}", (tenths + 5) / 10)
            } else {
                format!("{}.{}", tenths / 10, tenths % 10)
            }
        };
        let mut bar = format!("memory {:>5} {unit} |", number(self.ram));
        for (name, parts) in BAR {
            let claimed: Bytes = parts.iter().map(|part| self.size(*part)).sum();
            if claimed > Bytes(0) {
                let blocks = (claimed.0 / (self.ram.0 / BLOCKS).max(1)).max(1);
                bar.push_str(&format!(
                    "{} {name} {}|",
                    "■".repeat(blocks.min(BLOCKS) as usize),
                    number(claimed)
                ));
            }
        }
        bar.push_str(&format!("· {} free", number(self.free)));
        bar
    }
}

impl Line {
    pub(super) fn new(part: Part, size: Bytes) -> Self {
        Self { part, size }
    }
}

impl Part {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Part::Os => "operating system",
            Part::Shared => "shared memory",
            Part::Backends => "backends",
            Part::Jit => "compiled queries",
            Part::PageTables => "page tables",
            Part::Autovacuum => "autovacuum",
            Part::Maintenance => "maintenance",
            Part::Decoding => "logical decoding",
            Part::WorkMem => "work_mem",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_every_claim_and_what_is_free() {
        let lines = vec![
            Line::new(Part::Os, Bytes::mb(492)),
            Line::new(Part::Shared, Bytes::mb(2132)),
            Line::new(Part::Backends, Bytes::mb(750)),
            Line::new(Part::PageTables, Bytes::mb(1200)),
            Line::new(Part::Autovacuum, Bytes::mb(126)),
            Line::new(Part::Maintenance, Bytes::mb(512)),
            Line::new(Part::WorkMem, Bytes::mb(2416)),
        ];
        let budget = Budget::new(Bytes::gb(8), lines.clone()).expect("fits");
        assert_eq!(
            budget.bar(),
            "memory   8.0 GB |■■■■■■ shared 2.1|■■■ page tables 1.2|■■ backends 0.7|■■■■■■■ work 2.4|■■ vacuum 0.6|■ OS 0.5|· 0.6 free"
        );
        assert!(Budget::new(Bytes::gb(7), lines).is_err());
    }
}
