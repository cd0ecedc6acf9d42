// SPDX-License-Identifier: Apache-2.0
//! temporary
pub mod heartbeat;
pub mod quorum;
pub mod watch;
