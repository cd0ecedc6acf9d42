// SPDX-License-Identifier: Apache-2.0
//! The octets that speakers send to one another: metadata in the memberlist, and messages from one to another.

pub mod keeping;
pub mod links;
pub mod message;
pub mod metadata;
