// SPDX-License-Identifier: Apache-2.0
//! The program `ferrolb`: the daemons' own functions for a person's shell, for CI, and for a host without
//! Kubernetes. It has no logic of its own: it loads, calls, and prints.

pub mod args;
pub mod check;
pub mod explain;
mod fields;
pub mod plan;
mod ring;
pub mod routes;
pub mod run;
pub mod steer;
mod table;
pub mod world;
