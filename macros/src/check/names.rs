//! The names of a program and of the libraries that it uses: blocks, networks and constants.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use proc_macro2::Ident;
use quote::ToTokens;

use super::values::Value;
use crate::ast::{Block, Import, Imported, Item, Network, Program, Provided, Use, plain};
use crate::diagnostics::{Diagnostics, Mistake, did_you_mean};
use crate::layers;

/// A program or library, by number.
pub(super) type ScopeId = usize;

/// What a name means.
#[derive(Clone)]
pub(super) enum Meaning<'a> {
    /// A block, with the scope in which its body is.
    Block(ScopeId, &'a Block),
    /// A network, with the scope in which its body is.
    Network(ScopeId, &'a Network),
    Constant(Value),
}

/// The names of a program or library.
#[derive(Default)]
pub(super) struct Scope<'a> {
    names: BTreeMap<String, Meaning<'a>>,
}

/// All scopes: libraries before the programs that use them, the program itself last.
#[derive(Default)]
pub(super) struct Scopes<'a> {
    scopes: Vec<Scope<'a>>,
}

impl<'a> Scopes<'a> {
    /// Adds an empty scope.
    pub(super) fn add(&mut self) -> ScopeId {
        self.scopes.push(Scope::default());
        self.scopes.len() - 1
    }

    pub(super) fn meaning(&self, scope: ScopeId, name: &str) -> Option<&Meaning<'a>> {
        self.scopes[scope].names.get(name)
    }

    pub(super) fn block(&self, scope: ScopeId, name: &str) -> Option<(ScopeId, &'a Block)> {
        match self.meaning(scope, name) {
            Some(Meaning::Block(inside, block)) => Some((*inside, block)),
            _ => None,
        }
    }

    pub(super) fn constant(&self, scope: ScopeId, name: &str) -> Option<&Value> {
        match self.meaning(scope, name) {
            Some(Meaning::Constant(value)) => Some(value),
            _ => None,
        }
    }

    /// The names of the blocks of a scope.
    pub(super) fn blocks(&self, scope: ScopeId) -> Vec<&str> {
        let names = self.scopes[scope].names.iter();
        names.filter(|(_, meaning)| matches!(meaning, Meaning::Block(..))).map(|(name, _)| &**name).collect()
    }

    /// The names of the networks of a scope.
    pub(super) fn networks(&self, scope: ScopeId) -> Vec<&str> {
        let names = self.scopes[scope].names.iter();
        names
            .filter(|(_, meaning)| matches!(meaning, Meaning::Network(..)))
            .map(|(name, _)| &**name)
            .collect()
    }

    /// Declares a name; two equal ones are reported.
    pub(super) fn declare(
        &mut self,
        scope: ScopeId,
        name: &Ident,
        meaning: Meaning<'a>,
        errors: &mut Diagnostics,
    ) {
        let text = plain(name);
        let kind = match &meaning {
            Meaning::Block(..) => "block",
            Meaning::Network(..) => "network",
            Meaning::Constant(_) => "constant",
        };
        let is_keyword =
            layers::find(&text).is_some() || layers::STRUCTURE.contains(&text.as_str()) || text == "it";
        if is_keyword && !matches!(meaning, Meaning::Network(..)) {
            let mistake =
                Mistake::new(format!("`{text}` is a keyword")).help(format!("give the {kind} another name"));
            return errors.report(name, mistake);
        }
        match self.scopes[scope].names.entry(text) {
            Entry::Vacant(place) => {
                place.insert(meaning);
            }
            Entry::Occupied(_) => {
                errors.report(name, Mistake::new(format!("the {kind} `{name}` is declared twice")));
            }
        }
    }

    /// Imports names of a library.
    pub(super) fn import(
        &mut self,
        scope: ScopeId,
        (item, library): (&Use, ScopeId),
        errors: &mut Diagnostics,
    ) {
        let words = item.path.segments.last().map(|segment| plain(&segment.ident)).unwrap_or_default();
        let names = match &item.names {
            Imported::Names(names) => names,
            Imported::All => {
                let all = self.scopes[library].names.clone();
                for (name, meaning) in all {
                    match self.scopes[scope].names.entry(name) {
                        Entry::Vacant(place) => {
                            place.insert(meaning);
                        }
                        Entry::Occupied(place) => {
                            let name = place.key();
                            let mistake = Mistake::new(format!("two libraries have the name `{name}`"));
                            let help =
                                format!("name what is used: `use …::{words}::{{{name} as other_name}};`");
                            errors.report(&item.path, mistake.help(help));
                        }
                    }
                }
                return;
            }
        };
        for import in names {
            let text = plain(&import.name);
            let Some(meaning) = self.meaning(library, &text).cloned() else {
                let known: Vec<&str> = self.scopes[library].names.keys().map(String::as_str).collect();
                let mistake = Mistake::new(format!("the library `{words}` has no block `{text}`"));
                let mistake = match did_you_mean(&text, known.iter().copied()) {
                    Some(meant) => mistake.help(format!("did you mean `{meant}`?")),
                    None => mistake.help(format!("it has {}", known.join(", "))),
                };
                errors.report(&import.name, mistake);
                continue;
            };
            self.import_one(scope, import, (&words, meaning), errors);
        }
    }

    fn import_one(
        &mut self,
        scope: ScopeId,
        import: &Import,
        (library, meaning): (&str, Meaning<'a>),
        errors: &mut Diagnostics,
    ) {
        let local = import.local();
        if import.alias.is_none() && self.meaning(scope, &plain(local)).is_some() {
            let mistake = Mistake::new(format!("two libraries have the name `{local}`"))
                .help(format!("import one under another name: `use …::{library}::{local} as other_name;`"));
            return errors.report(local, mistake);
        }
        self.declare(scope, local, meaning, errors);
    }
}

/// The number of the library in [`Program::libraries`] that each `use` of a program imports from.
pub(crate) fn library_numbers(program: &Program) -> Vec<(&Use, usize)> {
    let mut paths: Vec<String> = Vec::new();
    let uses = program.items.iter().filter_map(|item| match item {
        Item::Use(item) => Some(item),
        _ => None,
    });
    let numbered = uses.map(|item| {
        let path = item.path.to_token_stream().to_string();
        let number = paths.iter().position(|other| *other == path).unwrap_or(paths.len());
        if number == paths.len() {
            paths.push(path);
        }
        (item, number)
    });
    numbered.collect()
}

/// The first `use` of a program whose library is not known yet.
pub(crate) fn first_unknown(program: &Program) -> Option<&Use> {
    library_numbers(program)
        .into_iter()
        .find(|(_, number)| *number == program.libraries.len())
        .map(|(item, _)| item)
}

/// Whether the declarations of all libraries, and of those that they use, have no mistakes.
pub(crate) fn are_sound(libraries: &[Provided]) -> bool {
    libraries.iter().all(|library| library.is_sound && are_sound(&library.program.libraries))
}
