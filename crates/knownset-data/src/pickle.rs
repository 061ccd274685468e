//! Just enough of Python's pickle format to read the dict of a CIFAR batch. Nothing is ever executed.
//!
//! A pickle is a program for a stack machine (CPython's `Lib/pickletools.py` documents every opcode). This reader runs
//! the opcodes that build plain data, and knows three callables, as data: NumPy's `_reconstruct` and `dtype` (together
//! an array of bytes) and `_codecs.encode` (how Python 3 writes bytes in protocol 2). Any other callable is refused by
//! name. Every opcode adds at most one node of its own size to an arena, so memory is linear in the input.

/// A pickle that cannot be read as plain data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// A callable that would run code.
    #[error("pickle refers to `{name}`, which is not plain data; it was not run")]
    Callable {
        /// Module and name.
        name: String,
    },
    /// An opcode that plain data does not need.
    #[error("pickle opcode {opcode:#04x} at byte {offset} is not supported")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Where it is.
        offset: usize,
    },
    /// The bytes end too early.
    #[error("pickle ends early, at byte {offset}")]
    Truncated {
        /// Where more was expected.
        offset: usize,
    },
    /// Opcodes that contradict each other.
    #[error("pickle is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A well-formed pickle of something else.
    #[error("pickle is not a CIFAR batch: {what}")]
    NotABatch {
        /// What is missing.
        what: &'static str,
    },
}

/// Pixels and labels of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// `[n, 3072]`: for each image 1024 red, 1024 green and 1024 blue values.
    pub(crate) data: Vec<u8>,
    /// `[n]`.
    pub(crate) labels: Vec<i64>,
}

/// Reads a dict with `data` (uint8 array `[n, 3072]`) and a list of n labels under `labels_key`.
pub(crate) fn read_batch(bytes: &[u8], labels_key: &str) -> Result<Batch, PickleError> {
    let mut machine =
        Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
    let root = machine.run()?;
    machine.batch(root, labels_key)
}

type Id = usize;

#[derive(Debug)]
enum Node<'a> {
    /// None and floats, which no batch needs.
    Opaque,
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// Text to be read as Latin-1 bytes.
    Encoded(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Callable(Callable),
    Dtype {
        uint8: bool,
    },
    Array {
        state: Option<Id>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callable {
    Reconstruct,
    NdArray,
    Dtype,
    Encode,
}

impl Callable {
    fn find(module: &str, name: &str) -> Result<Self, PickleError> {
        match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Ok(Self::Reconstruct),
            ("numpy", "ndarray") => Ok(Self::NdArray),
            ("numpy", "dtype") => Ok(Self::Dtype),
            ("_codecs", "encode") => Ok(Self::Encode),
            _ => Err(PickleError::Callable { name: format!("{module}.{name}") }),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let offset = self.at;
            match self.take(1)?[0] {
                // Protocol version and frame length say nothing that the opcodes do not.
                0x80 => {
                    self.take(1)?;
                }
                0x95 => {
                    self.take(8)?;
                }
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.push(Node::Opaque),
                b'G' => {
                    self.take(8)?;
                    self.push(Node::Opaque);
                }
                0x88 => self.push(Node::Bool(true)),
                0x89 => self.push(Node::Bool(false)),
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Node::Int(i64::from(value)));
                }
                b'K' => self.short_int(1)?,
                b'M' => self.short_int(2)?,
                b'I' => self.decimal_int()?,
                0x8a => self.long1()?,
                b'U' | b'C' => self.counted_bytes(1)?, // SHORT_BINSTRING, SHORT_BINBYTES
                b'T' | b'B' => self.counted_bytes(4)?, // BINSTRING, BINBYTES
                0x8e => self.counted_bytes(8)?,        // BINBYTES8
                0x8c => self.counted_text(1)?,         // SHORT_BINUNICODE
                b'X' => self.counted_text(4)?,         // BINUNICODE
                0x8d => self.counted_text(8)?,         // BINUNICODE8
                b')' => self.push(Node::Tuple(Vec::new())),
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Node::Tuple(items));
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b']' => self.push(Node::List(Vec::new())),
                b'l' => {
                    let items = self.since_mark()?;
                    self.push(Node::List(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend_list(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.extend_list(items)?;
                }
                b'}' => self.push(Node::Dict(Vec::new())),
                b'd' => {
                    let items = self.since_mark()?;
                    self.push(Node::Dict(Vec::new()));
                    self.extend_dict(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.extend_dict(&[key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.extend_dict(&items)?;
                }
                b'q' => {
                    let slot = self.unsigned(1)?;
                    self.remember(slot)?;
                }
                b'r' => {
                    let slot = self.unsigned(4)?;
                    self.remember(slot)?;
                }
                0x94 => self.remember(self.memo.len())?, // MEMOIZE
                b'h' => {
                    let slot = self.unsigned(1)?;
                    self.recall(slot)?;
                }
                b'j' => {
                    let slot = self.unsigned(4)?;
                    self.recall(slot)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Callable(Callable::find(module, name)?));
                }
                0x93 => self.stack_global()?,
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                opcode => return Err(PickleError::Opcode { opcode, offset }),
            }
        }
    }

    fn malformed<T>(&self, what: &'static str) -> Result<T, PickleError> {
        Err(PickleError::Malformed { offset: self.at, what })
    }

    // === input ===

    fn take(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else { return Err(PickleError::Truncated { offset: self.bytes.len() }) };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let Some(length) = self.bytes[self.at..].iter().position(|&byte| byte == b'\n') else {
            return Err(PickleError::Truncated { offset: self.bytes.len() });
        };
        let line = self.take(length + 1)?;
        match std::str::from_utf8(&line[..length]) {
            Ok(line) => Ok(line),
            Err(_) => self.malformed("a line is not UTF-8"),
        }
    }

    /// A little-endian number of up to eight bytes.
    fn unsigned(&mut self, width: usize) -> Result<usize, PickleError> {
        let mut number = [0; 8];
        number[..width].copy_from_slice(self.take(width)?);
        Ok(usize::try_from(u64::from_le_bytes(number)).unwrap_or(usize::MAX))
    }

    fn counted(&mut self, width: usize) -> Result<&'a [u8], PickleError> {
        let length = self.unsigned(width)?;
        self.take(length)
    }

    // === values ===

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    /// Pops a value; never beyond the last mark.
    fn pop(&mut self) -> Result<Id, PickleError> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return self.malformed("the stack is empty");
        }
        self.stack.pop().map_or_else(|| self.malformed("the stack is empty"), Ok)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.malformed("there is no mark"),
        }
    }

    fn top(&mut self) -> Result<&mut Node<'a>, PickleError> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(&mut self.nodes[top])
    }

    fn counted_bytes(&mut self, width: usize) -> Result<(), PickleError> {
        let bytes = self.counted(width)?;
        self.push(Node::Bytes(bytes));
        Ok(())
    }

    fn counted_text(&mut self, width: usize) -> Result<(), PickleError> {
        let bytes = self.counted(width)?;
        let Ok(text) = std::str::from_utf8(bytes) else { return self.malformed("a text is not UTF-8") };
        self.push(Node::Text(text));
        Ok(())
    }

    fn short_int(&mut self, width: usize) -> Result<(), PickleError> {
        let value = self.unsigned(width)?;
        self.push(Node::Int(value as i64));
        Ok(())
    }

    fn decimal_int(&mut self) -> Result<(), PickleError> {
        let node = match self.line()? {
            "00" => Node::Bool(false),
            "01" => Node::Bool(true),
            number => match number.parse() {
                Ok(number) => Node::Int(number),
                Err(_) => return self.malformed("a number is not a number"),
            },
        };
        self.push(node);
        Ok(())
    }

    /// A little-endian two's complement number of up to eight bytes.
    fn long1(&mut self) -> Result<(), PickleError> {
        let bytes = self.counted(1)?;
        if bytes.len() > 8 {
            return self.malformed("a number has more than 64 bits");
        }
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        match self.top()? {
            Node::List(list) => list.extend(items),
            _ => return self.malformed("items are added to what is no list"),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), PickleError> {
        if !items.len().is_multiple_of(2) {
            return self.malformed("a dict has a key without a value");
        }
        match self.top()? {
            Node::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return self.malformed("entries are added to what is no dict"),
        }
        Ok(())
    }

    /// Pickles number their memo 0, 1, 2, … ; a number far ahead of that would only ask for memory.
    fn remember(&mut self, slot: usize) -> Result<(), PickleError> {
        if slot > self.bytes.len() {
            return self.malformed("a memo number is larger than the file");
        }
        let top = self.pop()?;
        self.stack.push(top);
        if slot >= self.memo.len() {
            self.memo.resize(slot + 1, None);
        }
        self.memo[slot] = Some(top);
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), PickleError> {
        match self.memo.get(slot).copied().flatten() {
            Some(id) => self.stack.push(id),
            None => return self.malformed("an unknown memo number"),
        }
        Ok(())
    }

    // === callables, as data ===

    fn stack_global(&mut self) -> Result<(), PickleError> {
        let (name, module) = (self.pop()?, self.pop()?);
        let (Node::Text(module), Node::Text(name)) = (&self.nodes[module], &self.nodes[name]) else {
            return self.malformed("a callable's name is no text");
        };
        let callable = Callable::find(module, name)?;
        self.push(Node::Callable(callable));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), PickleError> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let (Node::Tuple(arguments), Node::Callable(callable)) = (&self.nodes[arguments], &self.nodes[callable]) else {
            return self.malformed("something that is no function is called");
        };
        let node = match callable {
            Callable::Reconstruct => Node::Array { state: None },
            Callable::Dtype => {
                let name = arguments.first().map(|&id| &self.nodes[id]);
                Node::Dtype { uint8: matches!(name, Some(Node::Text("u1") | Node::Bytes(b"u1"))) }
            }
            Callable::Encode => match arguments.first().map(|&id| &self.nodes[id]) {
                Some(Node::Text(text)) => Node::Encoded(text),
                _ => return self.malformed("what is encoded is no text"),
            },
            Callable::NdArray => return self.malformed("numpy.ndarray is called"),
        };
        self.push(node);
        Ok(())
    }

    fn build(&mut self) -> Result<(), PickleError> {
        let new_state = self.pop()?;
        match self.top()? {
            Node::Array { state } => *state = Some(new_state),
            // Byte order and alignment, which single bytes do not have.
            Node::Dtype { .. } => {}
            _ => return self.malformed("a state is given to what has none"),
        }
        Ok(())
    }

    // === the batch ===

    fn batch(&self, root: Id, labels_key: &str) -> Result<Batch, PickleError> {
        let Node::Dict(dict) = &self.nodes[root] else {
            return Err(PickleError::NotABatch { what: "its root is no dict" });
        };
        let find = |wanted: &str| dict.iter().rev().find(|(key, _)| self.is_key(*key, wanted)).map(|&(_, value)| value);
        let data = find("data").ok_or(PickleError::NotABatch { what: "it has no `data`" })?;
        let labels =
            find(labels_key).ok_or(PickleError::NotABatch { what: "it has no labels of the kind asked for" })?;
        let (rows, data) = self.pixels(data)?;
        let labels = self.labels(labels)?;
        if labels.len() != rows {
            return Err(PickleError::NotABatch { what: "it has not as many labels as images" });
        }
        Ok(Batch { data, labels })
    }

    fn is_key(&self, id: Id, wanted: &str) -> bool {
        match &self.nodes[id] {
            Node::Bytes(bytes) => *bytes == wanted.as_bytes(),
            Node::Text(text) | Node::Encoded(text) => *text == wanted,
            _ => false,
        }
    }

    /// An array's state is (version, shape, dtype, Fortran order, bytes).
    fn pixels(&self, id: Id) -> Result<(usize, Vec<u8>), PickleError> {
        let not = |what| Err(PickleError::NotABatch { what });
        let Node::Array { state: Some(state) } = &self.nodes[id] else { return not("`data` is no array") };
        let Node::Tuple(state) = &self.nodes[*state] else { return not("`data` is no array") };
        let &[_, shape, dtype, fortran, bytes] = state.as_slice() else { return not("`data` is no array") };
        if !matches!(self.nodes[dtype], Node::Dtype { uint8: true }) {
            return not("`data` is not of type uint8");
        }
        if !matches!(self.nodes[fortran], Node::Bool(false)) {
            return not("`data` is not in C order");
        }
        let Node::Tuple(shape) = &self.nodes[shape] else { return not("`data` has no shape") };
        let rows = match shape.as_slice() {
            &[rows, width] => match (&self.nodes[rows], &self.nodes[width]) {
                (Node::Int(rows), Node::Int(3072)) => usize::try_from(*rows).ok(),
                _ => None,
            },
            _ => None,
        };
        let data = match &self.nodes[bytes] {
            Node::Bytes(bytes) => bytes.to_vec(),
            Node::Encoded(text) => latin1(text)?,
            _ => return not("`data` holds no bytes"),
        };
        match rows {
            Some(rows) if rows.checked_mul(3072) == Some(data.len()) => Ok((rows, data)),
            _ => not("`data` has not the shape [n, 3072]"),
        }
    }

    fn labels(&self, id: Id) -> Result<Vec<i64>, PickleError> {
        let Node::List(labels) = &self.nodes[id] else {
            return Err(PickleError::NotABatch { what: "its labels are no list" });
        };
        let number = |&id: &Id| match self.nodes[id] {
            Node::Int(label) => Ok(label),
            _ => Err(PickleError::NotABatch { what: "a label is no whole number" }),
        };
        labels.iter().map(number).collect()
    }
}

fn latin1(text: &str) -> Result<Vec<u8>, PickleError> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.map_err(|_| PickleError::NotABatch { what: "`data` holds characters beyond Latin-1" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: [&[u8]; 3] = [
        include_bytes!("../tests/golden/python2.pkl"),
        include_bytes!("../tests/golden/protocol2.pkl"),
        include_bytes!("../tests/golden/protocol4.pkl"),
    ];

    #[test]
    fn three_ways_to_pickle_one_batch() {
        let [first, second, third] = GOLDEN.map(|bytes| read_batch(bytes, "labels").unwrap());
        assert_eq!(first.labels, [3, 9]);
        assert_eq!((first.data[0], first.data[3071], first.data[3072 + 2048]), (255, 4, 200));
        assert_eq!(first, second);
        assert_eq!(first, third);
        let error = read_batch(GOLDEN[0], "fine_labels").unwrap_err();
        assert!(matches!(error, PickleError::NotABatch { .. }), "{error}");
    }

    #[test]
    fn a_cut_anywhere_is_an_error() {
        for bytes in GOLDEN {
            for length in (0..bytes.len()).step_by(7) {
                assert!(read_batch(&bytes[..length], "labels").is_err());
            }
        }
    }

    #[test]
    fn callables_are_refused_by_name_however_they_are_spelt() {
        let classic: &[u8] = b"cos\nsystem\n(X\x02\0\0\0idtR.";
        let stacked: &[u8] = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.";
        let instance: &[u8] = b"(X\x02\0\0\0idios\nsystem\n.";
        let name = |bytes| match read_batch(bytes, "labels") {
            Err(PickleError::Callable { name }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(name(classic), "os.system");
        assert_eq!(name(stacked), "builtins.eval");
        assert_eq!(read_batch(instance, "labels"), Err(PickleError::Opcode { opcode: b'i', offset: 8 }));
    }

    #[test]
    fn lengths_beyond_the_file_allocate_nothing() {
        for bytes in [&b"B\xff\xff\xff\xff."[..], b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", b"Nr\xff\xff\xff\x7f."] {
            assert!(matches!(
                read_batch(bytes, "labels"),
                Err(PickleError::Truncated { .. } | PickleError::Malformed { .. })
            ));
        }
    }

    #[test]
    fn a_list_inside_itself_is_harmless() {
        assert!(matches!(read_batch(b"]q\0h\0a.", "labels"), Err(PickleError::NotABatch { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_batch_or_an_error(bytes: Vec<u8>) {
            let _ = read_batch(&bytes, "labels");
        }

        #[test]
        fn any_opcodes_give_a_batch_or_an_error(
            program in prop::collection::vec(prop::sample::select(b"(NJKMIUTBX)t\x85\x86\x87]lae}dsuqrhjcRb.\x93\x94\0\n".to_vec()), 0..60)
        ) {
            let _ = read_batch(&program, "labels");
        }

        #[test]
        fn any_changed_byte_gives_a_batch_or_an_error(file in 0_usize..3, at: prop::sample::Index, value: u8) {
            let mut bytes = GOLDEN[file].to_vec();
            // The pixels are most of the file; its structure is in its first and last bytes.
            let at = at.index(600);
            let at = if at < 300 { at } else { bytes.len() - at + 299 };
            bytes[at] = value;
            let _ = read_batch(&bytes, "labels");
        }
    }
}
