// SPDX-License-Identifier: Apache-2.0
//! The program `ferrolb` offers the daemons' own functions to a person's shell, to CI, and to a host without
//! Kubernetes. It has no logic of its own: it loads, calls, and prints.

pub mod args;
pub mod check;
pub mod clear;
pub mod collect;
pub mod drain;
pub mod explain;
pub mod get;
mod identifiers;
pub mod import;
pub mod plan;
pub mod preflight;
mod ring;
pub mod routes;
pub mod run;
pub mod status;
pub mod steer;
pub mod survey;
mod table;
pub mod world;
