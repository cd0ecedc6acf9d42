// SPDX-License-Identifier: Apache-2.0
//! Events on Services: the kinds of them with their reasons, and what the log calls them. The texts of the reasons
//! why a Service has no address are in [`crate::reason`].

/// An event on the Service (contract 2.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    /// The kind of event.
    pub kind: NoticeKind,
    /// The event's message.
    pub message: String,
}

impl Notice {
    pub(crate) fn new(kind: NoticeKind, message: String) -> Self {
        Self { kind, message }
    }
}

/// The kinds of events on Services (contract 2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// The Service was given an address.
    Allocated,
    /// Its addresses are not allowed any more.
    Cleared,
    /// It uses an annotation of old.
    DeprecatedAnnotation,
    /// The families of the addresses in its status cannot be told.
    NoIngressFamily,
    /// Those of its cluster addresses cannot be told.
    NoClusterIpFamily,
    /// It has too few cluster addresses for its policy.
    NotEnoughClusterIps,
    /// It keeps its addresses, and asks for others that cannot be understood.
    RequestRefused,
    /// It keeps its address, and is not given one of the other family.
    FamilyNotAdded,
    /// It shares its address with another Service that has the same port.
    SharedPort,
    /// It was given no address.
    AllocationFailed,
}

impl NoticeKind {
    /// The event's reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Allocated => "IPAllocated",
            Self::Cleared => "ClearAssignment",
            Self::DeprecatedAnnotation => "deprecatedAnnotation",
            Self::NoIngressFamily => "nolbIPsIPFamily",
            Self::NoClusterIpFamily => "noclusterIPsIPFamily",
            Self::NotEnoughClusterIps => "not enough clusterips",
            Self::RequestRefused => "LoadBalancerFailed",
            Self::FamilyNotAdded => "AdditionalAssignFailed",
            Self::SharedPort => "SharedPortConflict",
            Self::AllocationFailed => "AllocationFailed",
        }
    }

    /// The value of `event` in the log (contract 7.2).
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::Allocated => "ipAllocated",
            Self::Cleared
            | Self::NoIngressFamily
            | Self::NoClusterIpFamily
            | Self::NotEnoughClusterIps => "clearAssignment",
            Self::DeprecatedAnnotation => "deprecatedAnnotation",
            Self::RequestRefused => "loadbalancerIP",
            Self::FamilyNotAdded => "tryAssignAdditionalIP",
            Self::SharedPort => "sharedPortConflict",
            Self::AllocationFailed => "allocationFailed",
        }
    }

    /// Whether the event is of type Warning; Normal otherwise.
    #[must_use]
    pub fn is_warning(self) -> bool {
        match self {
            Self::Allocated | Self::Cleared | Self::FamilyNotAdded => false,
            Self::DeprecatedAnnotation
            | Self::NoIngressFamily
            | Self::NoClusterIpFamily
            | Self::NotEnoughClusterIps
            | Self::RequestRefused
            | Self::SharedPort
            | Self::AllocationFailed => true,
        }
    }

    /// Whether it goes on being true while the Service keeps the address that it has: something else that it asks
    /// for is refused.
    #[must_use]
    pub fn lasts(self) -> bool {
        match self {
            Self::RequestRefused | Self::FamilyNotAdded | Self::SharedPort => true,
            Self::Allocated
            | Self::Cleared
            | Self::DeprecatedAnnotation
            | Self::NoIngressFamily
            | Self::NoClusterIpFamily
            | Self::NotEnoughClusterIps
            | Self::AllocationFailed => false,
        }
    }
}
