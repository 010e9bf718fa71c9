//! Tests of the public interface, in one program: linking each separately would take longer than running them.

mod activations;
mod attention;
mod bad_input;
mod blocks;
mod carried;
mod ctc;
mod dynamic;
mod exchange;
mod facade;
mod forms;
mod language;
mod lengths;
mod libraries;
mod losses;
mod models;
mod objects;
mod predictor;
mod recurrent;
mod scans;
mod sequences;
mod sharing;
mod spatial_axes;
mod support;
mod text;
mod tokens;
mod trainers;
