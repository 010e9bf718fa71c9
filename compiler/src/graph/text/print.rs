//! Prints a graph.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::graph::{Graph, Node};
use crate::ops::Op;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {} {{", plain_or_quoted(self.name()))?;
        write_lines(f, self, "  ")?;
        f.write_str("}\n")
    }
}

/// Writes what is between the braces of a graph, or of a scan's body, which is indented further.
fn write_lines(f: &mut fmt::Formatter<'_>, graph: &Graph, indent: &str) -> fmt::Result {
    for node in graph.nodes() {
        f.write_str(indent)?;
        write_node(f, graph, node)?;
        if let Op::Scan(scan) = &node.op {
            writeln!(f, " body {} {{", plain_or_quoted(scan.body.name()))?;
            write_lines(f, &scan.body, &format!("{indent}  "))?;
            write!(f, "{indent}}}")?;
        }
        f.write_str("\n")?;
    }
    for output in graph.outputs() {
        writeln!(f, "{indent}output {} = {}", quoted(&output.name), output.value)?;
    }
    for update in graph.updates() {
        writeln!(f, "{indent}update {} = {}", quoted(&update.name), update.value)?;
    }
    Ok(())
}

fn write_node(f: &mut fmt::Formatter<'_>, graph: &Graph, node: &Node) -> fmt::Result {
    write_list(f, &node.results)?;
    write!(f, " = {}", node.op.name())?;
    if !node.operands.is_empty() {
        f.write_str("(")?;
        write_list(f, &node.operands)?;
        f.write_str(")")?;
    }
    write_attributes(f, &node.op)?;
    f.write_str(" : ")?;
    write_list(f, &graph.types(&node.results))?;
    if !node.label.is_empty() {
        write!(f, " @{}", plain_or_quoted(&node.label))?;
    }
    Ok(())
}

/// The computation of a node without its values: the operator and the types.
#[cfg(feature = "codegen")]
pub(crate) fn describe(graph: &Graph, node: &Node) -> String {
    struct Description<'a>(&'a Graph, &'a Node);

    impl fmt::Display for Description<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Description(graph, node) = self;
            write!(f, "{}(", node.op.name())?;
            write_list(f, &graph.types(&node.operands))?;
            f.write_str(")")?;
            write_attributes(f, &node.op)?;
            match &node.op {
                Op::Scan(scan) => write!(f, " body {}", scan.body),
                _ => Ok(()),
            }
        }
    }

    Description(graph, node).to_string()
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

fn write_attributes(f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
    let Ok(Value::Object(mut attributes)) = serde_json::to_value(op) else {
        return Err(fmt::Error);
    };
    attributes.shift_remove("op");
    // The body follows the line.
    attributes.shift_remove("body");
    if attributes.is_empty() {
        return Ok(());
    }
    f.write_str(" {")?;
    for (index, (name, value)) in attributes.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{name} = ")?;
        write_value(f, value)?;
    }
    f.write_str("}")
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Array(items) => {
            f.write_str("[")?;
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write_value(f, item)?;
            }
            f.write_str("]")
        }
        Value::Object(fields) => {
            f.write_str("{")?;
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{name} = ")?;
                write_value(f, field)?;
            }
            f.write_str("}")
        }
        Value::String(text) => f.write_str(&quoted(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => write!(f, "{value}"),
    }
}

fn plain_or_quoted(name: &str) -> Cow<'_, str> {
    if super::is_plain(name) { Cow::Borrowed(name) } else { Cow::Owned(quoted(name)) }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
