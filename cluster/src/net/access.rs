// SPDX-License-Identifier: Apache-2.0
//! Asks the API who holds a token and whether the holder may read the metrics (contract 3.3): TokenReview, then
//! SubjectAccessReview for `get` on the path.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

/// Asks the API whether the bearer of `token` may `get` the path `path`, which is no resource; none if the API knows no
/// bearer of the token.
///
/// # Errors
/// The API cannot be asked: a `403` if the permission for these reviews is lacking.
pub async fn may_get(
    client: Client,
    token: String,
    path: &str,
) -> Result<Option<bool>, kube::Error> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(token), audiences: None },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &review).await?;
    let Some(user) = review
        .status
        .filter(|status| status.authenticated == Some(true))
        .and_then(|status| status.user)
    else {
        return Ok(None);
    };
    let UserInfo { extra, groups, uid, username } = user;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            extra,
            groups,
            uid,
            user: username,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client);
    let review = reviews.create(&PostParams::default(), &review).await?;
    Ok(Some(review.status.is_some_and(|status| status.allowed && status.denied != Some(true))))
}
