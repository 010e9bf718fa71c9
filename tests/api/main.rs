//! Tests of the public interface, in one program: linking each separately would take longer than running them.

mod activations;
mod attention;
mod bad_input;
mod blocks;
mod ctc;
mod dynamic;
mod exchange;
mod facade;
mod forms;
mod language;
mod libraries;
mod losses;
mod models;
mod predictor;
mod recurrent;
mod sequences;
mod sharing;
mod spatial_axes;
mod support;
mod text;
mod tokens;
mod trainers;
