use std::collections::HashSet;

use super::elsewhere::ABSENT;
use super::{
    Default, Each, INITIALIZERS, Kind, LAYERS, STRUCTURE, Setting, Settings, absent, find,
    known_elsewhere_as, meant,
};
use windlass_compiler::graph::initializer::Initializer;

#[test]
fn every_layer_can_be_made_from_its_defaults_and_required_arguments() {
    for rule in LAYERS {
        let mut settings = Settings::default();
        for argument in rule.arguments {
            let setting = match argument.default {
                Default::Is(setting) => setting,
                Default::As(other) => settings.get(other).unwrap(),
                Default::Required => match argument.kind {
                    Kind::Size => Setting::Size(8),
                    Kind::Sizes(axes) => Setting::Sizes(Each::all(axes, 3)),
                    Kind::Padding(axes) => Setting::Padding(Each::all(axes, 1.into())),
                    Kind::List => Setting::Sizes(Each::all(2, 1)),
                    Kind::Number => Setting::Number(0.5),
                    Kind::Flag | Kind::Connections | Kind::Word(_) | Kind::Initializer => {
                        panic!("{} needs a sample", argument.name)
                    }
                },
            };
            settings.set(argument.name, setting);
        }
        let layer = (rule.make)(&settings).unwrap_or_else(|| panic!("{} cannot be made", rule.name));
        assert_eq!(layer.name(), rule.name);
    }
}

#[test]
fn names_are_unique_and_required_arguments_come_first() {
    let mut names = HashSet::new();
    for rule in LAYERS {
        assert!(names.insert(rule.name));
        assert!(rule.also.iter().all(|other| find(other).is_none()));
        assert!(rule.also.iter().all(|other| absent(other).is_none()), "{}", rule.name);
        assert!(absent(rule.name).is_none(), "{}", rule.name);
        let required =
            rule.arguments.iter().take_while(|rule| matches!(rule.default, Default::Required)).count();
        assert!(rule.arguments[required..].iter().all(|rule| !matches!(rule.default, Default::Required)));
    }
}

#[test]
fn absent_layers_are_named_once_and_what_there_is_instead_exists() {
    let mut names = HashSet::new();
    for absent in ABSENT {
        assert!(absent.names.iter().all(|name| names.insert(*name)), "{:?}", absent.names);
        // Every other piece between backticks is a name.
        for word in absent.instead.unwrap_or_default().split('`').skip(1).step_by(2) {
            assert!(
                find(word).is_some() || STRUCTURE.contains(&word) || ["groups", "1d", "3d"].contains(&word),
                "{word}"
            );
        }
    }
}

#[test]
fn styles_of_names_are_one() {
    assert_eq!(known_elsewhere_as("BatchNorm2d"), Some("batch_norm"));
    assert_eq!(known_elsewhere_as("ReLU"), Some("relu"));
    assert_eq!(known_elsewhere_as("LeakyReLU"), Some("leaky_relu"));
    assert!(absent("HardTanh").is_some_and(|absent| absent.keeps_shape));
    assert_eq!(meant("Linear"), Some("linear"));
    assert_eq!(meant("mish"), None);
}

#[test]
fn the_documentation_lists_every_layer_with_its_defaults() {
    let text = include_str!("../../../src/language.md");
    for rule in LAYERS {
        let name = format!("`{}`", rule.name);
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(&name));
        let row = row.unwrap_or_else(|| panic!("{name} is missing"));
        for argument in rule.arguments {
            let words = match argument.default {
                Default::Required => format!("`{}`", argument.name),
                Default::As(other) => format!("`{} = {other}`", argument.name),
                Default::Is(setting) => format!("`{} = {}`", argument.name, words_of(setting)),
            };
            assert!(row.contains(&words), "{words} is missing in {row}");
        }
    }
    for rule in INITIALIZERS {
        assert!(text.contains(&format!("`{}", rule.name)), "{} is missing", rule.name);
    }
}

fn words_of(setting: Setting) -> String {
    match setting {
        Setting::Size(size) => size.to_string(),
        Setting::Sizes(sizes) => sizes.as_slice()[0].to_string(),
        Setting::Padding(padding) => padding.as_slice()[0].to_string(),
        Setting::Word(word) => word.to_owned(),
        Setting::Number(number) => number.to_string(),
        Setting::Flag(flag) => flag.to_string(),
        Setting::Connections(_) => "all".to_owned(),
        Setting::Initializer(initializer) => match initializer {
            Initializer::XavierUniform => "xavier_uniform".to_owned(),
            Initializer::Signs => "signs".to_owned(),
            Initializer::Constant(value) => format!("constant({value})"),
            Initializer::Normal(mean, deviation) => format!("normal({mean}, {deviation})"),
            other => panic!("{other:?}"),
        },
    }
}
