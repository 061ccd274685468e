//! A pickle read as data: a stack machine whose objects are plain values in an arena.
//!
//! `GLOBAL` gives a name out of a fixed list, `REDUCE` only records that a listed function was to be applied to
//! arguments, and `BUILD` state is dropped. No code runs, whatever the file says.

use std::collections::HashMap;

use super::PickleError;

/// Index of a node.
pub(super) type Id = usize;

/// Objects that a real checkpoint stays far below.
const NODE_LIMIT: usize = 4_000_000;

/// One object of the pickle.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// `persistent_id`: how PyTorch points at a storage.
    Persistent(Id),
    /// A listed function with its arguments, not applied.
    Call(Global, Id),
    /// None, booleans, floats, lists, sets: read over, never needed for tensors.
    Plain,
}

/// The only globals a weights file may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `torch._utils._rebuild_tensor_v2` and its predecessor, alike in their first four arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `collections.OrderedDict` and friends: containers that are filled by later instructions.
    Dictionary,
    /// `torch.FloatStorage` and so on.
    Storage(super::elements::Element),
    /// Inert values next to the tensors of a checkpoint, such as `argparse.Namespace`.
    Inert,
}

/// Result of reading one pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
    /// Bytes read, up to and including `STOP`.
    pub(super) length: usize,
}

/// Reads the pickle at the start of `bytes`.
pub(super) fn read(bytes: &[u8], global: fn(&str, &str) -> Option<Global>) -> Result<Pickle, PickleError> {
    let mut machine =
        Machine { bytes, at: 0, global, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    let root = machine.run()?;
    Ok(Pickle { nodes: machine.nodes, root, length: machine.at })
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    global: fn(&str, &str) -> Option<Global>,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let at = self.at;
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                0x80 => drop(self.take(1)?),                                 // PROTO
                0x95 => drop(self.take(8)?),                                 // FRAME
                b'(' => self.marks.push(self.stack.len()),                   // MARK
                b'0' | b'a' | b'b' => drop(self.pop()?), // POP, APPEND, BUILD: lists and states are not needed
                b'1' | b'e' | 0x90 => drop(self.pop_mark()?), // POP_MARK, APPENDS, ADDITEMS
                b'2' => self.stack.push(self.top()?),    // DUP
                b'N' | 0x88 | 0x89 | b']' | 0x8f => self.push(Node::Plain)?, // NONE, TRUE, FALSE, LIST, SET
                b'G' => self.skip_plain(8)?,             // BINFLOAT
                b'J' => self.int(4, true)?,              // BININT
                b'K' => self.int(1, false)?,             // BININT1
                b'M' => self.int(2, false)?,             // BININT2
                0x8a => self.long(1)?,                   // LONG1
                0x8b => self.long(4)?,                   // LONG4
                b'X' | b'T' => self.text(4)?,            // BINUNICODE, BINSTRING
                0x8c | b'U' => self.text(1)?,            // SHORT_BINUNICODE, SHORT_BINSTRING
                0x8d => self.text(8)?,                   // BINUNICODE8
                b'B' => self.skip_counted(4)?,           // BINBYTES
                b'C' => self.skip_counted(1)?,           // SHORT_BINBYTES
                0x8e => self.skip_counted(8)?,           // BINBYTES8
                b'}' => self.push(Node::Dict(Vec::new()))?, // EMPTY_DICT
                b')' => self.push(Node::Tuple(Vec::new()))?, // EMPTY_TUPLE
                b't' => self.tuple_to_mark()?,           // TUPLE
                0x85..=0x87 => self.tuple(usize::from(code - 0x84))?, // TUPLE1, 2, 3
                0x91 => self.frozen_set()?,              // FROZENSET
                b's' => self.set_item()?,                // SETITEM
                b'u' => self.set_items()?,               // SETITEMS
                b'q' => self.put(1)?,                    // BINPUT
                b'r' => self.put(4)?,                    // LONG_BINPUT
                0x94 => self.memoize()?,                 // MEMOIZE
                b'h' => self.get(1)?,                    // BINGET
                b'j' => self.get(4)?,                    // LONG_BINGET
                b'Q' => self.persistent()?,              // BINPERSID
                b'c' => self.global_inline()?,           // GLOBAL
                0x93 => self.global_from_stack()?,       // STACK_GLOBAL
                b'R' | 0x81 => self.reduce()?,           // REDUCE, NEWOBJ
                code => return Err(PickleError::Instruction { code, at }),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(PickleError::Truncated { at: self.at })?;
        self.at += count;
        Ok(taken)
    }

    /// An unsigned little-endian number of 1, 2, 4 or 8 bytes.
    fn number(&mut self, width: usize) -> Result<u64, PickleError> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn counted(&mut self, width: usize) -> Result<&'a [u8], PickleError> {
        let count = usize::try_from(self.number(width)?).unwrap_or(usize::MAX);
        self.take(count)
    }

    fn malformed(&self, why: &'static str) -> PickleError {
        PickleError::Malformed { at: self.at, why }
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        if self.nodes.len() >= NODE_LIMIT {
            return Err(PickleError::TooLarge { limit: NODE_LIMIT });
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    /// Objects above the innermost mark may be popped, those below not.
    fn pop(&mut self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.malformed("nothing on the stack"));
        }
        self.stack.pop().ok_or(self.malformed("nothing on the stack"))
    }

    fn top(&self) -> Result<Id, PickleError> {
        self.stack.last().copied().ok_or(self.malformed("nothing on the stack"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(self.malformed("no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn int(&mut self, width: usize, signed: bool) -> Result<(), PickleError> {
        let value = self.number(width)?;
        self.push(Node::Int(if signed { i64::from(value as i32) } else { value as i64 }))
    }

    /// Integers of up to eight bytes keep their value; longer ones (the old format's magic number) are [`Node::Plain`].
    fn long(&mut self, width: usize) -> Result<(), PickleError> {
        let bytes = self.counted(width)?;
        if bytes.len() > 8 {
            return self.push(Node::Plain);
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut all = if negative { [0xff; 8] } else { [0; 8] };
        all[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(all)))
    }

    fn text(&mut self, width: usize) -> Result<(), PickleError> {
        let text = String::from_utf8_lossy(self.counted(width)?).into_owned();
        self.push(Node::Text(text))
    }

    fn skip_plain(&mut self, count: usize) -> Result<(), PickleError> {
        self.take(count)?;
        self.push(Node::Plain)
    }

    fn skip_counted(&mut self, width: usize) -> Result<(), PickleError> {
        self.counted(width)?;
        self.push(Node::Plain)
    }

    fn frozen_set(&mut self) -> Result<(), PickleError> {
        self.pop_mark()?;
        self.push(Node::Plain)
    }

    fn tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Node::Tuple(items))
    }

    fn tuple_to_mark(&mut self) -> Result<(), PickleError> {
        let items = self.pop_mark()?;
        self.push(Node::Tuple(items))
    }

    fn set_item(&mut self) -> Result<(), PickleError> {
        let value = self.pop()?;
        let key = self.pop()?;
        self.extend_top(vec![(key, value)])
    }

    fn set_items(&mut self) -> Result<(), PickleError> {
        let items = self.pop_mark()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("a key without a value"));
        }
        self.extend_top(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    /// Adds to the dictionary on top; entries of an inert object are dropped.
    fn extend_top(&mut self, pairs: Vec<(Id, Id)>) -> Result<(), PickleError> {
        let top = self.top()?;
        match &mut self.nodes[top] {
            Node::Dict(entries) => entries.extend(pairs),
            Node::Call(Global::Inert, _) | Node::Plain => {}
            _ => return Err(self.malformed("items for something that is no dictionary")),
        }
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), PickleError> {
        self.memo.insert(self.memo.len(), self.top()?);
        Ok(())
    }

    fn put(&mut self, width: usize) -> Result<(), PickleError> {
        let key = self.number(width)? as usize;
        self.memo.insert(key, self.top()?);
        Ok(())
    }

    fn get(&mut self, width: usize) -> Result<(), PickleError> {
        let key = self.number(width)? as usize;
        let id = self.memo.get(&key).copied().ok_or(self.malformed("an object that was never stored"))?;
        self.stack.push(id);
        Ok(())
    }

    fn persistent(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        self.push(Node::Persistent(id))
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(PickleError::Truncated { at: self.bytes.len() })?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn global_inline(&mut self) -> Result<(), PickleError> {
        let (module, name) = (self.line()?, self.line()?);
        self.push_global(module, name)
    }

    fn global_from_stack(&mut self) -> Result<(), PickleError> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.nodes[module], &self.nodes[name]) {
            (Node::Text(module), Node::Text(name)) => self.push_global(module.clone(), name.clone()),
            _ => Err(self.malformed("a global whose name is not text")),
        }
    }

    fn push_global(&mut self, module: String, name: String) -> Result<(), PickleError> {
        match (self.global)(&module, &name) {
            Some(global) => self.push(Node::Global(global)),
            None => Err(PickleError::Global { module, name }),
        }
    }

    fn reduce(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        match self.nodes[function] {
            Node::Global(Global::Dictionary) => self.push(Node::Dict(Vec::new())),
            Node::Global(global) => self.push(Node::Call(global, arguments)),
            _ => Err(self.malformed("a call of something that is no function")),
        }
    }
}
