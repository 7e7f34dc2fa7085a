//! Limits and usage.

use serde::{Deserialize, Serialize};

use crate::error::{Error, QuotaExceeded, QuotaResource, QuotaScope};

/// What is stored: a number of secrets and their size.
///
/// A secret's size is the UTF-8 bytes of its value, name, tool pattern and argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// The number of secrets.
    pub secrets: u64,
    /// The bytes of all secrets together.
    pub bytes: u64,
}

impl Usage {
    pub(crate) fn new(secrets: u64, bytes: u64) -> Usage {
        Usage { secrets, bytes }
    }

    /// Replaces `before` by `after` in this usage; `None` if `before` is not part of it.
    pub(crate) fn replace(self, before: Usage, after: Usage) -> Option<Usage> {
        let replace = |all: u64, before, after| all.checked_sub(before)?.checked_add(after);
        Some(Usage {
            secrets: replace(self.secrets, before.secrets, after.secrets)?,
            bytes: replace(self.bytes, before.bytes, after.bytes)?,
        })
    }
}

/// How much may be stored, per user and in the whole vault.
///
/// The default is 1,000 secrets and 1 MiB per user, and no limit for the vault. If a limit is lowered below what is
/// already stored, the excess stays and may shrink; only growth is refused.
///
/// ```
/// use keyward::{ErrorKind, NewSecret, Quota, UserId, Vault};
///
/// let vault = Vault::builder().quota(Quota::default().user_secrets(1)).in_memory()?;
/// let user = vault.user(UserId::LOCAL);
/// user.create(NewSecret::new("first", "4QvT9sLm"))?;
/// let error = user.create(NewSecret::new("second", "Zc81bKxE")).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
/// assert_eq!(error.quota().unwrap().used, 1);
/// # Ok::<(), keyward::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    user: Limits,
    vault: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    secrets: Option<u64>,
    bytes: Option<u64>,
}

impl Limits {
    const NONE: Limits = Limits {
        secrets: None,
        bytes: None,
    };
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            user: Limits {
                secrets: Some(1_000),
                bytes: Some(1024 * 1024),
            },
            vault: Limits::NONE,
        }
    }
}

impl Quota {
    /// Creates a quota without any limits.
    pub fn unlimited() -> Quota {
        Quota {
            user: Limits::NONE,
            vault: Limits::NONE,
        }
    }

    /// Sets the maximum number of secrets per user.
    #[must_use]
    pub fn user_secrets(mut self, secrets: u64) -> Quota {
        self.user.secrets = Some(secrets);
        self
    }

    /// Sets the maximum size of all secrets of one user together, in bytes.
    #[must_use]
    pub fn user_bytes(mut self, bytes: u64) -> Quota {
        self.user.bytes = Some(bytes);
        self
    }

    /// Sets the maximum number of secrets in the vault.
    #[must_use]
    pub fn vault_secrets(mut self, secrets: u64) -> Quota {
        self.vault.secrets = Some(secrets);
        self
    }

    /// Sets the maximum size of all secrets in the vault together, in bytes.
    #[must_use]
    pub fn vault_bytes(mut self, bytes: u64) -> Quota {
        self.vault.bytes = Some(bytes);
        self
    }

    /// Returns the limit of each user, or that of the whole vault; `None` if there is none.
    ///
    /// ```
    /// use keyward::{Quota, QuotaResource, QuotaScope};
    ///
    /// let quota = Quota::default();
    /// assert_eq!(quota.limit(QuotaScope::User, QuotaResource::Secrets), Some(1_000));
    /// assert_eq!(quota.limit(QuotaScope::Vault, QuotaResource::Secrets), None);
    /// ```
    pub fn limit(&self, scope: QuotaScope, resource: QuotaResource) -> Option<u64> {
        let limits = match scope {
            QuotaScope::User => self.user,
            QuotaScope::Vault => self.vault,
        };
        match resource {
            QuotaResource::Secrets => limits.secrets,
            QuotaResource::Bytes => limits.bytes,
        }
    }

    /// Checks that one user's usage may become `after`.
    pub(crate) fn check_user(&self, before: Usage, after: Usage) -> Result<(), Error> {
        check(self.user, QuotaScope::User, before, after)
    }

    /// Checks that the vault's usage may become `after`.
    pub(crate) fn check_vault(&self, before: Usage, after: Usage) -> Result<(), Error> {
        check(self.vault, QuotaScope::Vault, before, after)
    }
}

fn check(limits: Limits, scope: QuotaScope, before: Usage, after: Usage) -> Result<(), Error> {
    let resources = [
        (
            QuotaResource::Secrets,
            limits.secrets,
            before.secrets,
            after.secrets,
        ),
        (
            QuotaResource::Bytes,
            limits.bytes,
            before.bytes,
            after.bytes,
        ),
    ];
    for (resource, limit, used, wanted) in resources {
        match limit {
            Some(limit) if wanted > limit && wanted > used => {
                return Err(Error::quota_exceeded(QuotaExceeded {
                    scope,
                    resource,
                    limit,
                    used,
                    requested: wanted - used,
                }));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_beyond_a_limit_is_refused() {
        let quota = Quota::unlimited()
            .user_secrets(3)
            .user_bytes(100)
            .vault_bytes(150);
        for (before, after, ok) in [
            ((0, 0), (3, 100), true),
            ((2, 50), (4, 60), false),
            ((2, 50), (3, 101), false),
            // The limits were lowered since: shrinking and staying the same are allowed, growing is not.
            ((9, 900), (8, 899), true),
            ((9, 900), (9, 900), true),
            ((9, 900), (9, 901), false),
            ((9, 90), (10, 80), false),
        ] {
            let result =
                quota.check_user(Usage::new(before.0, before.1), Usage::new(after.0, after.1));
            assert_eq!(result.is_ok(), ok, "{before:?} -> {after:?}");
        }
        assert!(
            quota
                .check_vault(Usage::new(1, 150), Usage::new(10_000, 150))
                .is_ok()
        );
        let error = quota
            .check_vault(Usage::new(1, 140), Usage::new(2, 151))
            .unwrap_err();
        let quota = error.quota().unwrap();
        assert_eq!(
            (
                quota.scope,
                quota.resource,
                quota.limit,
                quota.used,
                quota.requested
            ),
            (QuotaScope::Vault, QuotaResource::Bytes, 150, 140, 11)
        );
    }

    #[test]
    fn what_has_no_limit_has_none() {
        let (nothing, everything) = (Usage::default(), Usage::new(u64::MAX, u64::MAX));
        let quota = Quota::unlimited();
        assert!(quota.check_user(nothing, everything).is_ok());
        assert!(quota.check_vault(nothing, everything).is_ok());
        let quota = Quota::default();
        assert!(quota.check_user(nothing, everything).is_err());
        assert!(quota.check_vault(nothing, everything).is_ok());
    }

    #[test]
    fn each_limit_is_told_as_it_was_set() {
        let quota = Quota::unlimited()
            .user_secrets(1)
            .user_bytes(2)
            .vault_secrets(3)
            .vault_bytes(4);
        let limits = [QuotaScope::User, QuotaScope::Vault].map(|scope| {
            [QuotaResource::Secrets, QuotaResource::Bytes]
                .map(|resource| quota.limit(scope, resource))
        });
        assert_eq!(limits, [[Some(1), Some(2)], [Some(3), Some(4)]]);
        let unlimited = Quota::unlimited();
        assert_eq!(
            unlimited.limit(QuotaScope::User, QuotaResource::Bytes),
            None
        );
    }

    #[test]
    fn usage_cannot_become_less_than_nothing() {
        let used = Usage::new(2, 20);
        assert_eq!(
            used.replace(Usage::new(1, 5), Usage::new(1, 9)),
            Some(Usage::new(2, 24))
        );
        assert_eq!(used.replace(Usage::new(3, 5), Usage::new(0, 0)), None);
        assert_eq!(used.replace(Usage::new(1, 21), Usage::new(0, 0)), None);
    }
}
