//! Where a host stands in its program: jumps, blocks and calls, without any host in sight.

use super::program::{Op, Program, Step};
use super::scope::Values;
use crate::playbook::Meta;
use std::sync::Arc;

/// A host's place in the program. Copies are cheap, so that reading ahead can walk a copy.
#[derive(Debug, Clone)]
pub struct Cursor {
    calls: Vec<CallFrame>,
}

#[derive(Debug, Clone)]
struct CallFrame {
    program: Arc<Program>,
    /// Which of the programs called from the same place.
    turn: usize,
    at: usize,
    blocks: Vec<BlockFrame>,
    loop_vars: Option<Arc<Values>>,
    /// Called by a flush, which is come back to.
    handler: bool,
    /// Handlers that the flush at this place has called so far.
    flushed: Vec<usize>,
}

impl CallFrame {
    fn new(program: Arc<Program>, turn: usize, loop_vars: Option<Arc<Values>>) -> Self {
        Self { program, turn, at: 0, blocks: Vec::new(), loop_vars, handler: false, flushed: Vec::new() }
    }

    fn go(&mut self, to: usize) {
        self.at = to;
        self.flushed.clear();
    }
}

/// In one pass of a flush handlers have turns below this; every pass has turns of its own.
const PASS: usize = 1 << 24;

#[derive(Debug, Clone)]
struct BlockFrame {
    rescue: Option<usize>,
    always: usize,
    /// Failed in a part that nobody rescues: goes on outwards after the always part.
    failed: bool,
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum Next {
    /// A task.
    Step(Arc<Step>),
    /// Go on only when the conditions hold, else [`Cursor::jump`] to `to`.
    Guard {
        /// Whose conditions.
        step: Arc<Step>,
        /// Where to go otherwise.
        to: usize,
    },
    /// Tasks to take in.
    Include(Arc<Step>),
    /// Run the notified handlers.
    Flush,
    /// Steer.
    Meta(Arc<Step>, Meta),
    /// The program is done.
    End,
    /// A failure left its last block.
    Failed,
}

impl Cursor {
    /// At the start of a program.
    pub fn new(program: Arc<Program>) -> Self {
        Self { calls: vec![CallFrame::new(program, 0, None)] }
    }

    /// Walks over blocks' borders to the next operation and stays before it.
    pub fn peek(&mut self) -> Next {
        loop {
            let Some(call) = self.calls.last_mut() else { return Next::End };
            let Some(op) = call.program.ops.get(call.at) else {
                if self.calls.len() == 1 {
                    return Next::End;
                }
                let ended = self.calls.pop();
                if ended.is_some_and(|call| call.handler)
                    && let Some(call) = self.calls.last_mut()
                {
                    call.at = call.at.saturating_sub(1);
                }
                continue;
            };
            match op {
                Op::Step(step) => return Next::Step(Arc::clone(step)),
                Op::Guard { step, to } => return Next::Guard { step: Arc::clone(step), to: *to },
                Op::Include(step) => return Next::Include(Arc::clone(step)),
                Op::Flush => return Next::Flush,
                Op::Meta { step, meta } => return Next::Meta(Arc::clone(step), *meta),
                Op::Enter { rescue, always } => {
                    call.blocks.push(BlockFrame { rescue: *rescue, always: *always, failed: false });
                    call.at += 1;
                }
                Op::Leave { always } => {
                    let always = *always;
                    call.go(always);
                }
                Op::End => {
                    call.at += 1;
                    let failed = call.blocks.pop().is_some_and(|block| block.failed);
                    if failed && self.fail() == Landing::Nowhere {
                        return Next::Failed;
                    }
                }
            }
        }
    }

    /// Steps over the operation that [`peek`](Self::peek) showed.
    pub fn advance(&mut self) {
        if let Some(call) = self.calls.last_mut() {
            call.go(call.at + 1);
        }
    }

    /// Goes on elsewhere in the same program.
    pub fn jump(&mut self, to: usize) {
        if let Some(call) = self.calls.last_mut() {
            call.go(to);
        }
    }

    /// Handlers that the flush which [`peek`](Self::peek) showed has called so far.
    pub fn flushed(&self) -> &[usize] {
        self.calls.last().map_or(&[], |call| call.flushed.as_slice())
    }

    /// Runs a handler, then comes back to the flush that [`peek`](Self::peek) showed.
    pub fn call_handler(&mut self, program: Arc<Program>, number: usize) {
        let Some(call) = self.calls.last_mut() else { return };
        call.at += 1;
        call.flushed.push(number);
        let passes = call.flushed.windows(2).filter(|pair| pair[1] < pair[0]).count();
        let turn = passes * PASS + number;
        self.calls.push(CallFrame { handler: true, ..CallFrame::new(program, turn, None) });
    }

    /// Walks another program first; its tasks see `loop_vars`. The caller has stepped over the operation that calls it.
    /// Of several programs called there, each has its `turn`, the same one on every host.
    pub fn call(&mut self, program: Arc<Program>, turn: usize, loop_vars: Option<Arc<Values>>) {
        self.calls.push(CallFrame::new(program, turn, loop_vars));
    }

    /// Whether some rescue part takes over a failure here, now or behind the always parts of inner blocks.
    pub fn is_rescued(&self) -> bool {
        let deepest = self.calls.len().saturating_sub(1);
        self.calls.iter().enumerate().any(|(depth, call)| {
            // Whoever called stands behind the call already.
            let at = if depth < deepest { call.at.saturating_sub(1) } else { call.at };
            call.blocks.iter().any(|block| block.rescue.is_some_and(|rescue| at < rescue && !block.failed))
        })
    }

    /// Goes where a failure leads.
    pub fn fail(&mut self) -> Landing {
        while let Some(call) = self.calls.last_mut() {
            while let Some(block) = call.blocks.last_mut() {
                let in_always = call.at >= block.always;
                let in_rescue = block.rescue.is_some_and(|rescue| call.at >= rescue);
                match block.rescue {
                    Some(rescue) if !in_rescue && !in_always => {
                        call.go(rescue);
                        return Landing::Rescue;
                    }
                    _ if !in_always => {
                        block.failed = true;
                        let always = block.always;
                        call.go(always);
                        return Landing::Always;
                    }
                    _ => {
                        call.blocks.pop();
                    }
                }
            }
            if self.calls.len() == 1 {
                return Landing::Nowhere;
            }
            self.calls.pop();
            // Whoever called stands behind the call, which may be behind the part of the block that it belongs to.
            if let Some(call) = self.calls.last_mut() {
                call.at = call.at.saturating_sub(1);
            }
        }
        Landing::Nowhere
    }

    /// Loop variables of the includes around the current place, outermost first.
    pub fn loop_vars(&self) -> impl Iterator<Item = &Arc<Values>> {
        self.calls.iter().filter_map(|call| call.loop_vars.as_ref())
    }

    /// Orders places of hosts that walk the same program: a host's own position never falls back.
    pub fn position(&self) -> Vec<usize> {
        let mut position = Vec::new();
        for (depth, call) in self.calls.iter().enumerate() {
            // Whoever called stands behind the call already, and what was called belongs before that. One that has not
            // begun waits for its turn.
            let at = match call.at.checked_sub(1) {
                _ if depth + 1 == self.calls.len() => call.at,
                Some(called_from) => called_from,
                None => continue,
            };
            if depth > 0 {
                position.push(call.turn);
            }
            position.push(at);
        }
        position
    }
}

/// Where a failure led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// To a rescue part.
    Rescue,
    /// To an always part; the failure goes on afterwards.
    Always,
    /// Out of the last block: the host is done.
    Nowhere,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs of flushes (any operation will do) with a block: 0 enter, 1 body, 2 leave, 3 rescue, 4 always, 5 end, 6.
    fn program(rescue: bool) -> Arc<Program> {
        let mut ops =
            vec![Op::Enter { rescue: rescue.then_some(3), always: 4 }, Op::Flush, Op::Leave { always: 4 }];
        ops.extend([Op::Flush, Op::Flush, Op::End, Op::Flush]);
        Arc::new(Program { ops })
    }

    /// Walks to the end; fails at the places listed. Tells the places visited and how it ended.
    fn walk(program: Arc<Program>, fail_at: &[usize]) -> (Vec<usize>, &'static str) {
        let mut cursor = Cursor::new(program);
        let mut visited = Vec::new();
        loop {
            match cursor.peek() {
                Next::End => return (visited, "end"),
                Next::Failed => return (visited, "failed"),
                _ => {
                    let at = cursor.position()[0];
                    visited.push(at);
                    if fail_at.contains(&at) {
                        if cursor.fail() == Landing::Nowhere {
                            return (visited, "failed");
                        }
                    } else {
                        cursor.advance();
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_go_the_way_ansible_goes() {
        assert_eq!(walk(program(true), &[]), (vec![1, 4, 6], "end"));
        assert_eq!(walk(program(true), &[1]), (vec![1, 3, 4, 6], "end"));
        assert_eq!(walk(program(true), &[1, 3]), (vec![1, 3, 4], "failed"));
        assert_eq!(walk(program(true), &[4]), (vec![1, 4], "failed"));
        assert_eq!(walk(program(true), &[6]), (vec![1, 4, 6], "failed"));
        let without = Arc::new(Program {
            ops: vec![
                Op::Enter { rescue: None, always: 3 },
                Op::Flush,
                Op::Leave { always: 3 },
                Op::Flush,
                Op::End,
                Op::Flush,
            ],
        });
        assert_eq!(walk(Arc::clone(&without), &[1]), (vec![1, 3], "failed"));
        assert_eq!(walk(without, &[]), (vec![1, 3, 5], "end"));
    }

    #[test]
    fn a_failure_leaves_the_included_tasks() {
        let mut cursor = Cursor::new(program(true));
        cursor.peek();
        cursor.advance();
        cursor.call(Arc::new(Program { ops: vec![Op::Flush, Op::Flush] }), 0, None);
        assert!(matches!(cursor.peek(), Next::Flush));
        assert_eq!(cursor.fail(), Landing::Rescue);
        cursor.peek();
        assert_eq!(cursor.position(), [3]);
    }

    #[test]
    fn a_failure_in_what_a_rescue_part_took_in_still_leads_to_the_always_part() {
        let mut cursor = Cursor::new(program(true));
        cursor.peek();
        assert!(cursor.is_rescued());
        assert_eq!(cursor.fail(), Landing::Rescue);
        cursor.advance();
        cursor.call(Arc::new(Program { ops: vec![Op::Flush] }), 0, None);
        assert!(!cursor.is_rescued());
        assert_eq!(cursor.fail(), Landing::Always);
        assert_eq!(cursor.position(), [4]);
    }

    #[test]
    fn a_failure_in_an_inner_block_is_rescued_by_an_outer_one() {
        // 0 enter (rescue 7), 1 enter (always 4), 2 body, 3 leave, 4 always, 5 end, 6 leave, 7 rescue, 8 end.
        let mut ops = vec![Op::Enter { rescue: Some(7), always: 8 }, Op::Enter { rescue: None, always: 4 }];
        ops.extend([
            Op::Flush,
            Op::Leave { always: 4 },
            Op::Flush,
            Op::End,
            Op::Leave { always: 8 },
            Op::Flush,
            Op::End,
        ]);
        let mut cursor = Cursor::new(Arc::new(Program { ops }));
        cursor.peek();
        assert!(cursor.is_rescued());
        assert_eq!(cursor.fail(), Landing::Always);
        cursor.advance();
        assert!(matches!(cursor.peek(), Next::Flush));
        assert_eq!(cursor.position(), [7]);
    }

    #[test]
    fn a_flush_is_come_back_to_after_each_handler() {
        let handler = || Arc::new(Program { ops: vec![Op::Flush] });
        let mut cursor = Cursor::new(Arc::new(Program { ops: vec![Op::Flush, Op::Flush] }));
        let mut seen = Vec::new();
        for number in [2, 5, 0] {
            assert!(matches!(cursor.peek(), Next::Flush));
            assert_eq!(cursor.position(), [0]);
            cursor.call_handler(handler(), number);
            seen.push(cursor.position());
            cursor.advance();
        }
        assert!(matches!(cursor.peek(), Next::Flush));
        assert_eq!(cursor.flushed(), [2, 5, 0]);
        assert!(seen.is_sorted(), "{seen:?}");
        cursor.advance();
        assert_eq!((cursor.position(), cursor.flushed().len()), (vec![1], 0));
    }

    #[test]
    fn positions_only_grow() {
        let part = || Arc::new(Program { ops: vec![Op::Flush, Op::Flush] });
        let mut cursor = Cursor::new(part());
        let mut seen = vec![cursor.position()];
        cursor.advance();
        for turn in [7, 3] {
            cursor.call(part(), turn, None);
        }
        while !matches!(cursor.peek(), Next::End) {
            seen.push(cursor.position());
            cursor.advance();
        }
        assert_eq!(seen, [vec![0], vec![0, 3, 0], vec![0, 3, 1], vec![0, 7, 0], vec![0, 7, 1], vec![1]]);
        assert!(seen.is_sorted(), "{seen:?}");
    }
}
