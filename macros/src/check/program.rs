//! Checks the items of a program: declares their names, and reports what is never used.

use std::collections::HashSet;

use super::Checker;
use super::names::{self, Meaning, ScopeId, Scopes};
use super::scope::{Environment, Flow};
use super::values::Value;
use crate::ast::{Block, Imported, Item, Program, plain};
use crate::diagnostics::{Diagnostics, Mistake};

/// Adds the scope of a program, after those of its libraries.
pub(super) fn declare<'a>(
    program: &'a Program,
    scopes: &mut Scopes<'a>,
    entered: &mut HashSet<(ScopeId, String)>,
    errors: &mut Diagnostics,
) -> ScopeId {
    // The mistakes of a library are reported where it is declared.
    let libraries: Vec<ScopeId> = program
        .libraries
        .iter()
        .map(|library| declare(&library.program, scopes, entered, &mut Diagnostics::default()))
        .collect();
    let scope = scopes.add();
    for (item, number) in names::library_numbers(program) {
        if let Some(&library) = libraries.get(number) {
            scopes.import(scope, (item, library), errors);
        }
    }
    for item in &program.items {
        match item {
            Item::Block(block) => {
                check_declaration(block, errors);
                scopes.declare(scope, &block.name, Meaning::Block(scope, block), errors);
            }
            Item::Network(network) => {
                scopes.declare(scope, &network.name, Meaning::Network(scope, network), errors);
            }
            _ => {}
        }
    }
    // A constant may use those before it, and be a block.
    for item in &program.items {
        let Item::Constant(constant) = item else { continue };
        let before = errors.count();
        let value = Checker::new((scopes, scope), errors, entered, "")
            .evaluate(&constant.value, &Environment::default());
        if value == Value::Unknown && errors.count() == before {
            errors.report(&constant.value, Mistake::new("there is no current value here"));
        }
        scopes.declare(scope, &constant.name, Meaning::Constant(value), errors);
    }
    scope
}

/// Checks blocks that nothing calls, as far as possible without their arguments, and reports them and unused imports. Those
/// of a library are for others.
pub(super) fn report_unused<'a>(
    program: &'a Program,
    (scopes, own): (&Scopes<'a>, ScopeId),
    errors: &mut Diagnostics,
    entered: &mut HashSet<(ScopeId, String)>,
) {
    let is_library = program.items.iter().any(|item| matches!(item, Item::Library(_)));
    // A call that does not parse or is misspelt may be meant to use a block.
    let report = errors.count() == 0 && !is_library;
    for item in &program.items {
        match item {
            Item::Block(block) => {
                let name = plain(&block.name);
                if entered.contains(&(own, name.clone())) {
                    continue;
                }
                let unknown = vec![Value::Unknown; block.parameters.len()];
                Checker::new((scopes, own), errors, entered, "").enter(
                    (own, block),
                    &unknown,
                    Flow::Unknown,
                    "",
                );
                if report && !name.starts_with('_') {
                    let mistake = Mistake::new(format!("block `{name}` is never used"))
                        .help(format!("call it, or name it `_{name}` to keep it for later"));
                    errors.report(&block.name, mistake);
                }
            }
            Item::Use(item) if report => {
                let Imported::Names(names) = &item.names else { continue };
                for import in names {
                    let local = import.local();
                    let used = match scopes.meaning(own, &plain(local)) {
                        Some(Meaning::Block(scope, block)) => entered.contains(&(*scope, plain(&block.name))),
                        Some(Meaning::Network(scope, network)) => {
                            entered.contains(&(*scope, plain(&network.name)))
                        }
                        Some(Meaning::Constant(_)) | None => true,
                    };
                    if !used {
                        let mistake = Mistake::new(format!("the import `{local}` is never used"))
                            .help("use it, or leave it out".to_owned());
                        errors.report(local, mistake);
                    }
                }
            }
            _ => {}
        }
    }
}

fn check_declaration(block: &Block, errors: &mut Diagnostics) {
    for attribute in block.attributes.iter().filter(|attribute| !attribute.path().is_ident("doc")) {
        let mistake = Mistake::new("a block takes no attributes except documentation")
            .help("put the attribute on the networks that use it".to_owned());
        errors.report(&attribute.path(), mistake);
    }
    let mut seen_default = false;
    for parameter in &block.parameters {
        if parameter.default.is_none() && seen_default {
            let mistake = Mistake::new(format!(
                "`{}` has no default, but follows a parameter with one",
                parameter.pattern
            ))
            .help("put parameters with defaults last".to_owned());
            errors.report(&block.name, mistake);
        }
        seen_default |= parameter.default.is_some();
    }
}
