// SPDX-License-Identifier: Apache-2.0
//! The capabilities of a speaker that is not root. The program's file in the image permits some without making them effective
//! (capabilities(7)), so that the program also starts where the container may have none of them.

use caps::CapSet;
use caps::errors::CapsError;

/// Makes the permitted capabilities effective, which they are already for root. To be called before the program has other threads.
///
/// # Errors
/// The kernel refuses.
pub fn raise() -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    if caps::read(None, CapSet::Effective)? != permitted {
        caps::set(None, CapSet::Effective, &permitted)?;
    }
    Ok(())
}
