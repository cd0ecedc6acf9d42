// SPDX-License-Identifier: Apache-2.0
//! Impersonation: `as`, `as-uid`, `as-groups` and `as-user-extra` of a kubeconfig as headers of each request
//! (Kubernetes' documentation, "User impersonation"). A user asks by them for the rights of another. kube reads these
//! fields and ignores them: a user who asked for lesser rights would act with all of his own.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};
use kube::config::AuthInfo;

use super::ConnectError;

/// The headers; none if the kubeconfig impersonates no user.
pub(super) fn impersonation(
    user: &AuthInfo,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConnectError> {
    let mut headers = Vec::new();
    let groups = user.impersonate_groups.iter().flatten();
    let extra = user.impersonate_user_extra.iter().flatten();
    let Some(name) = user.impersonate.as_ref().filter(|name| !name.is_empty()) else {
        // client-go refuses this as well.
        let without = |field| ConnectError::Impersonation { field, reason: "is given without as" };
        if groups.count() > 0 {
            return Err(without("as-groups"));
        }
        if user.impersonate_uid.as_ref().is_some_and(|uid| !uid.is_empty()) {
            return Err(without("as-uid"));
        }
        return if extra.count() > 0 { Err(without("as-user-extra")) } else { Ok(headers) };
    };
    let mut add = |field: &'static str, header: &str, value: &str| {
        let wrong =
            || ConnectError::Impersonation { field, reason: "holds what no HTTP header can carry" };
        let header = HeaderName::try_from(header).map_err(|_| wrong())?;
        headers.push((header, HeaderValue::try_from(value).map_err(|_| wrong())?));
        Ok::<_, ConnectError>(())
    };
    add("as", "Impersonate-User", name)?;
    if let Some(uid) = user.impersonate_uid.as_ref().filter(|uid| !uid.is_empty()) {
        add("as-uid", "Impersonate-Uid", uid)?;
    }
    for group in groups {
        add("as-groups", "Impersonate-Group", group)?;
    }
    for (key, values) in extra {
        let header = format!("Impersonate-Extra-{}", escaped(key));
        for value in values {
            add("as-user-extra", &header, value)?;
        }
    }
    Ok(headers)
}

/// Percent-encodes each octet that the name of a header cannot hold, and the percent sign, as client-go does.
fn escaped(key: &str) -> String {
    let mut text = String::new();
    for octet in key.bytes() {
        let is_plain = octet.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&octet);
        if is_plain {
            text.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}
