//! Parses a graph. Every error names its line.

use std::collections::HashMap;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::Op;
use crate::ops::source::is_number_word;
use crate::shape::Type;

impl FromStr for Graph {
    type Err = GraphError;

    fn from_str(text: &str) -> Result<Self, GraphError> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, without_comment(line).trim()))
            .filter(|(_, line)| !line.is_empty());
        let Some((number, header)) = lines.next() else {
            return Err(text_error(1, "expected `graph name {`"));
        };
        let name = header
            .strip_prefix("graph ")
            .and_then(|rest| rest.strip_suffix('{'))
            .ok_or_else(|| text_error(number, "expected `graph name {`"))?;
        let graph = block(name_of(name, number)?, number, &mut lines, MOST_NESTED)?;
        match lines.next() {
            Some((number, _)) => Err(text_error(number, "text after the closing brace")),
            None => Ok(graph),
        }
    }
}

/// The maximum nesting of bodies.
const MOST_NESTED: usize = 16;

/// The name of a graph or body.
fn name_of(name: &str, number: usize) -> Result<String, GraphError> {
    let name = name.trim();
    match name.starts_with('"') {
        true => {
            serde_json::from_str(name).map_err(|_| text_error(number, &format!("`{name}` is not a name")))
        }
        false => Ok(name.to_owned()),
    }
}

/// Parses the lines of a graph or body up to its closing brace. Bodies may be nested at most `depth` deep.
fn block<'t>(
    name: String,
    header: usize,
    lines: &mut impl Iterator<Item = (usize, &'t str)>,
    depth: usize,
) -> Result<Graph, GraphError> {
    let mut parser = Parser { graph: Graph::new(name), values: HashMap::new() };
    let mut last = header;
    while let Some((number, line)) = lines.next() {
        last = number;
        if line == "}" {
            return Ok(parser.graph);
        }
        let body = match body_header(line) {
            None => None,
            Some(_) if depth == 0 => {
                return Err(text_error(number, &format!("bodies are at most {MOST_NESTED} deep")));
            }
            Some(name) => Some(block(name_of(name, number)?, number, &mut *lines, depth - 1)?),
        };
        parser.line(line, body).map_err(|error| match error {
            LineError::Syntax(reason) => text_error(number, &reason),
            LineError::Graph(error) => text_error(number, &error.to_string()),
        })?;
    }
    Err(text_error(last, "the closing brace is missing"))
}

/// The name of the body that a line starts: `… body name {`.
fn body_header(line: &str) -> Option<&str> {
    let line = line.strip_suffix('{')?;
    line.rfind(" body ").map(|place| &line[place + " body ".len()..])
}

/// Removes a `;` comment, unless the semicolon is inside a string.
fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let mut escaped = false;
    for (index, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ';' if !in_string => return &line[..index],
            _ => {}
        }
    }
    line
}

fn text_error(line: usize, reason: &str) -> GraphError {
    GraphError::Text { line, reason: reason.to_owned() }
}

enum LineError {
    Syntax(String),
    Graph(GraphError),
}

impl From<GraphError> for LineError {
    fn from(error: GraphError) -> Self {
        LineError::Graph(error)
    }
}

fn syntax<T>(reason: impl Into<String>) -> Result<T, LineError> {
    Err(LineError::Syntax(reason.into()))
}

struct Parser {
    graph: Graph,
    values: HashMap<String, ValueId>,
}

impl Parser {
    fn line(&mut self, line: &str, body: Option<Graph>) -> Result<(), LineError> {
        let header = body.is_some().then(|| body_header(line)).flatten();
        let line = header.map_or(line, |name| &line[..line.len() - name.len() - " body {".len()]);
        let mut cursor = Cursor { rest: line };
        for (keyword, is_output) in [("output ", true), ("update ", false)] {
            if cursor.eat(keyword) {
                let name = cursor.string()?;
                cursor.expect("=")?;
                let value = self.value(&mut cursor)?;
                cursor.end()?;
                if is_output {
                    self.graph.add_output(&name, value)?;
                } else {
                    self.graph.add_update(&name, value)?;
                }
                return Ok(());
            }
        }
        self.node(cursor, body)
    }

    fn node(&mut self, mut cursor: Cursor<'_>, body: Option<Graph>) -> Result<(), LineError> {
        let mut names = vec![cursor.value_name()?];
        while cursor.eat(",") {
            names.push(cursor.value_name()?);
        }
        cursor.expect("=")?;
        let operator = cursor.word()?;
        let mut operands = Vec::new();
        if cursor.eat("(") {
            loop {
                operands.push(self.value(&mut cursor)?);
                if !cursor.eat(",") {
                    break;
                }
            }
            cursor.expect(")")?;
        }
        let mut attributes = if cursor.peek("{") { cursor.object(MAX_DEPTH)? } else { Map::new() };
        attributes.insert("op".to_owned(), Value::String(operator.clone()));
        if let Some(body) = body {
            attributes.insert("body".to_owned(), Value::String(body.to_string()));
        }
        if !Op::NAMES.contains(&operator.as_str()) {
            return syntax(format!("there is no operator `{operator}`"));
        }
        let op: Op = serde_json::from_value(Value::Object(attributes))
            .map_err(|error| LineError::Syntax(format!("`{operator}`: {error}")))?;
        let mut types = Vec::new();
        if cursor.eat(":") {
            loop {
                types.push(cursor.ty()?);
                if !cursor.eat(",") {
                    break;
                }
            }
        }
        let label = if cursor.eat("@") { cursor.label()? } else { String::new() };
        cursor.end()?;
        let results = self.graph.add(op, &operands, &label)?;
        if results.len() != names.len() {
            return syntax(format!("`{operator}` has {} results, not {}", results.len(), names.len()));
        }
        let inferred = self.graph.types(&results);
        if !types.is_empty() && types != inferred {
            let words: Vec<String> = inferred.iter().map(Type::to_string).collect();
            return syntax(format!("`{operator}` produces {}", words.join(", ")));
        }
        for (name, value) in names.into_iter().zip(results) {
            if self.values.contains_key(&name) {
                return syntax(format!("%{name} is defined twice"));
            }
            self.values.insert(name, value);
        }
        Ok(())
    }

    fn value(&self, cursor: &mut Cursor<'_>) -> Result<ValueId, LineError> {
        let name = cursor.value_name()?;
        self.values
            .get(&name)
            .copied()
            .ok_or_else(|| LineError::Syntax(format!("%{name} is used before it is defined")))
    }
}

/// The maximum nesting of lists and objects. Attributes need no more than a list in the operator's own object.
const MAX_DEPTH: usize = 32;

/// The unread rest of a line; every method skips white space first.
struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn peek(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.starts_with(token)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek(token);
        if found {
            self.rest = &self.rest[token.len()..];
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), LineError> {
        if self.eat(token) { Ok(()) } else { syntax(format!("expected `{token}` before `{}`", self.rest)) }
    }

    fn end(&mut self) -> Result<(), LineError> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() { Ok(()) } else { syntax(format!("unexpected `{}`", self.rest)) }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|character| !accept(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_owned()
    }

    fn word(&mut self) -> Result<String, LineError> {
        let word = self.take_while(|character| character.is_alphanumeric() || character == '_');
        if word.is_empty() { syntax(format!("expected a name before `{}`", self.rest)) } else { Ok(word) }
    }

    fn label(&mut self) -> Result<String, LineError> {
        if self.peek("\"") {
            return self.string();
        }
        let label = self.take_while(|character| !character.is_whitespace());
        if label.is_empty() { syntax("expected a label after `@`") } else { Ok(label) }
    }

    fn value_name(&mut self) -> Result<String, LineError> {
        self.expect("%")?;
        self.word()
    }

    fn ty(&mut self) -> Result<Type, LineError> {
        self.rest = self.rest.trim_start();
        let Some(end) = self.rest.find(']') else {
            return syntax(format!("expected a type before `{}`", self.rest));
        };
        let (text, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        text.parse().map_err(|error: crate::shape::ParseTypeError| LineError::Syntax(error.to_string()))
    }

    /// Reads a string with the JSON reader, which handles the escapes.
    fn string(&mut self) -> Result<String, LineError> {
        self.rest = self.rest.trim_start();
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        match stream.next() {
            Some(Ok(text)) => {
                self.rest = &self.rest[stream.byte_offset()..];
                Ok(text)
            }
            _ => syntax(format!("expected a string before `{}`", self.rest)),
        }
    }

    /// Reads a value; lists and objects in it may be nested at most this deep.
    fn attribute_value(&mut self, depth: usize) -> Result<Value, LineError> {
        if self.peek("{") {
            return self.object(depth).map(Value::Object);
        }
        if !self.peek("[") {
            return self.scalar();
        }
        let within = self.enter(depth)?;
        self.expect("[")?;
        let mut items = Vec::new();
        if self.eat("]") {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.attribute_value(within)?);
            if !self.eat(",") {
                self.expect("]")?;
                return Ok(Value::Array(items));
            }
        }
    }

    /// The allowed nesting inside a list or object.
    fn enter(&self, depth: usize) -> Result<usize, LineError> {
        match depth.checked_sub(1) {
            Some(within) => Ok(within),
            None => syntax(format!("lists are at most {MAX_DEPTH} deep")),
        }
    }

    fn scalar(&mut self) -> Result<Value, LineError> {
        if self.peek("\"") {
            return self.string().map(Value::String);
        }
        let token = self.take_while(|character| character.is_alphanumeric() || "+-._".contains(character));
        if is_number_word(&token) {
            return Ok(Value::String(token));
        }
        serde_json::from_str(&token).map_err(|_| LineError::Syntax(format!("`{token}` is not a value")))
    }

    fn object(&mut self, depth: usize) -> Result<Map<String, Value>, LineError> {
        let within = self.enter(depth)?;
        self.expect("{")?;
        let mut fields = Map::new();
        if self.eat("}") {
            return Ok(fields);
        }
        loop {
            let name = self.word()?;
            self.expect("=")?;
            if fields.contains_key(&name) {
                return syntax(format!("`{name}` is given twice"));
            }
            fields.insert(name, self.attribute_value(within)?);
            if !self.eat(",") {
                self.expect("}")?;
                return Ok(fields);
            }
        }
    }
}
