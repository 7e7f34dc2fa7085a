//! Sealed records: a secret's metadata and its value, and what binds them to their place.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    aead::{self, Context},
    keys::KeyRing,
    page::KeyBytes,
    stack::wiping_stack,
};
use crate::{
    bytes::length_prefix,
    error::{Error, ErrorKind},
    metadata::Metadata,
    sealed::{RowTag, Sealed, SealedRow, UserTag},
    secret::{SecretId, SecretInfo, SecretValue, UserId},
};

impl KeyRing {
    /// The name of a user's rows in a store.
    pub(crate) fn user_tag(&self, user: UserId) -> UserTag {
        let context = self
            .vault
            .context("keyward user tag")
            .field(user.as_uuid().as_bytes());
        UserTag(truncate(&keyed_digest(self.tags(), &context)))
    }

    /// The name of a secret's row in a store.
    pub(crate) fn row_tag(&self, user: UserId, secret: SecretId) -> RowTag {
        let context = self
            .vault
            .context("keyward row tag")
            .field(user.as_uuid().as_bytes())
            .field(secret.as_uuid().as_bytes());
        RowTag(truncate(&keyed_digest(self.tags(), &context)))
    }

    /// Seals a secret under the current data key.
    pub(crate) fn seal_row(
        &self,
        metadata: &Metadata,
        value: &SecretValue,
    ) -> Result<SealedRow, Error> {
        let key = self.current();
        let row = self.row_tag(metadata.info.user_id, metadata.info.secret_id);
        let context = self.metadata_context(metadata.info.user_id, row, key.id());
        Ok(SealedRow {
            key_id: key.id(),
            metadata: aead::seal(key.metadata(), &context, &metadata.encode())?,
            value: aead::seal(
                key.value(),
                &self.value_context(&metadata.info, &BindingDigest::of(&metadata.info), key.id()),
                value.expose_secret().as_bytes(),
            )?,
        })
    }

    /// Opens the metadata of the row that is stored under this user's and this row's name.
    pub(crate) fn open_metadata(
        &self,
        user: UserId,
        tag: RowTag,
        row: &SealedRow,
    ) -> Result<Metadata, Error> {
        let corrupt = || {
            Error::new(
                ErrorKind::Corrupt,
                "a secret's record is damaged: restore a backup",
            )
        };
        let key = self.data_key(row.key_id).ok_or_else(corrupt)?;
        let context = self.metadata_context(user, tag, row.key_id);
        let bytes = aead::open(key.metadata(), &context, &row.metadata).ok_or_else(corrupt)?;
        let metadata = Metadata::decode(&bytes).ok_or_else(corrupt)?;
        let secret_id = metadata.info.secret_id;
        if metadata.info.user_id != user || self.row_tag(user, secret_id) != tag {
            return Err(corrupt());
        }
        Ok(metadata)
    }

    /// Opens a value that belongs to this metadata, whose digest this is.
    pub(crate) fn open_value(
        &self,
        info: &SecretInfo,
        binding: &BindingDigest,
        row: &SealedRow,
    ) -> Result<SecretValue, Error> {
        let corrupt = || {
            Error::new(
                ErrorKind::Corrupt,
                "a secret's value is damaged: write it again",
            )
        };
        let key = self.data_key(row.key_id).ok_or_else(corrupt)?;
        let context = self.value_context(info, binding, row.key_id);
        let mut bytes = aead::open(key.value(), &context, &row.value).ok_or_else(corrupt)?;
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Zeroizing::new(text).into()),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(corrupt())
            }
        }
    }

    /// The digest of a row for its user's root.
    pub(super) fn row_digest(&self, info: &SecretInfo, row: &SealedRow) -> Zeroizing<[u8; 32]> {
        let context = self
            .vault
            .context("keyward row digest")
            .field(info.user_id.as_uuid().as_bytes())
            .field(info.secret_id.as_uuid().as_bytes())
            .field(&info.revision.to_le_bytes());
        // The last two fields, as a context would have them, but not copied into one.
        let [metadata, value] = [&row.metadata, &row.value].map(Sealed::as_bytes);
        let [metadata_length, value_length] = [metadata, value].map(length_prefix);
        hmac(
            self.digests(),
            &[
                context.as_bytes(),
                &metadata_length,
                metadata,
                &value_length,
                value,
            ],
        )
    }

    /// The secret's id and revision are sealed themselves, so they cannot be part of the context; the name of the row
    /// stands for the id, and the user's root for the revision.
    fn metadata_context(&self, user: UserId, row: RowTag, key_id: u32) -> Context {
        self.vault
            .context("keyward metadata")
            .field(user.as_uuid().as_bytes())
            .field(&row.0)
            .field(&key_id.to_le_bytes())
    }

    fn value_context(&self, info: &SecretInfo, binding: &BindingDigest, key_id: u32) -> Context {
        self.vault
            .context("keyward value")
            .field(info.user_id.as_uuid().as_bytes())
            .field(info.secret_id.as_uuid().as_bytes())
            .field(&info.revision.to_le_bytes())
            .field(&key_id.to_le_bytes())
            .field(&binding.0)
    }
}

/// A digest of where a value may go: whoever changes the one cannot open the other.
#[derive(Debug, Clone)]
pub(crate) struct BindingDigest([u8; 32]);

impl BindingDigest {
    pub(crate) fn of(info: &SecretInfo) -> BindingDigest {
        let optional = |context: Context, text: &Option<String>| match text {
            Some(text) => context.field(&[1]).field(text.as_bytes()),
            None => context.field(&[0]),
        };
        let mut context = Context::new("keyward binding").field(info.secret_name.as_bytes());
        context = optional(context, &info.tool_name);
        context = optional(context, &info.tool_arg);
        context = context.field(&[info.is_default_for_tool.into()]);
        context = optional(context, &info.format);
        BindingDigest(Sha256::digest(context.as_bytes()).into())
    }
}

pub(super) fn keyed_digest(key: &KeyBytes, context: &Context) -> Zeroizing<[u8; 32]> {
    hmac(key, &[context.as_bytes()])
}

/// HMAC-SHA-256 ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104)) of all parts, one after the other.
fn hmac(key: &KeyBytes, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    wiping_stack(|| {
        let mut mac: Hmac<Sha256> = KeyInit::new_from_slice(key).expect("HMAC takes any key");
        for part in parts {
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    })
}

fn truncate(digest: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::crypto::keys::VaultId;
    use chrono::DateTime;
    use uuid::Uuid;

    fn metadata() -> Metadata {
        Metadata {
            info: SecretInfo {
                secret_id: SecretId::new(Uuid::from_u128(7)),
                user_id: UserId::new(Uuid::from_u128(9)),
                secret_name: "linear".to_owned(),
                display: None,
                tool_name: Some("agno__linear__*".to_owned()),
                tool_arg: Some("api_key".to_owned()),
                is_default_for_tool: true,
                format: None,
                created_at: DateTime::UNIX_EPOCH,
                updated_at: DateTime::UNIX_EPOCH,
                revision: 3,
            },
            value_bytes: 8,
        }
    }

    fn ring() -> KeyRing {
        KeyRing::random(VaultId::random().unwrap()).unwrap()
    }

    #[test]
    fn a_row_opens_in_its_place() {
        let (ring, metadata) = (ring(), metadata());
        let row = ring.seal_row(&metadata, &"4QvT9sLm".into()).unwrap();
        let user = metadata.info.user_id;
        let tag = ring.row_tag(user, metadata.info.secret_id);
        assert_eq!(ring.open_metadata(user, tag, &row).unwrap(), metadata);
        assert_eq!(
            ring.open_value(&metadata.info, &BindingDigest::of(&metadata.info), &row)
                .unwrap()
                .expose_secret(),
            "4QvT9sLm"
        );
    }

    #[test]
    fn metadata_does_not_open_in_another_place() {
        let (ring, metadata) = (ring(), metadata());
        let row = ring.seal_row(&metadata, &"4QvT9sLm".into()).unwrap();
        let user = metadata.info.user_id;
        let tag = ring.row_tag(user, metadata.info.secret_id);
        let other_tag = ring.row_tag(user, SecretId::new(Uuid::from_u128(8)));
        let other_key = SealedRow {
            key_id: 2,
            ..row.clone()
        };
        for (user, tag, row) in [
            (UserId::LOCAL, tag, &row),
            (user, other_tag, &row),
            (user, tag, &other_key),
        ] {
            let error = ring.open_metadata(user, tag, row).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_value_does_not_open_under_another_binding() {
        let (ring, metadata) = (ring(), metadata());
        let row = ring.seal_row(&metadata, &"4QvT9sLm".into()).unwrap();
        let changes: [fn(&mut SecretInfo); 9] = [
            |info| info.user_id = UserId::LOCAL,
            |info| info.secret_id = SecretId::new(Uuid::from_u128(8)),
            |info| info.revision = 2,
            |info| info.secret_name = "linear2".to_owned(),
            |info| info.tool_name = Some("*".to_owned()),
            |info| info.tool_name = None,
            |info| info.tool_arg = Some("body".to_owned()),
            |info| info.is_default_for_tool = false,
            |info| info.format = Some("Bearer {}".to_owned()),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut info = metadata.info.clone();
            change(&mut info);
            let binding = BindingDigest::of(&info);
            assert!(
                ring.open_value(&info, &binding, &row).is_err(),
                "change {i}"
            );
        }
        // What is no part of the binding may change without a new value: only the mask and the times.
        let mut info = metadata.info.clone();
        info.display = Some("********".to_owned());
        let binding = BindingDigest::of(&info);
        assert!(ring.open_value(&info, &binding, &row).is_ok());
    }

    /// Only what keyward sealed itself gets as far as this.
    #[test]
    fn metadata_says_whose_and_which_it_is() {
        let (ring, metadata) = (ring(), metadata());
        let SecretInfo {
            user_id: user,
            secret_id: id,
            ..
        } = metadata.info;
        let (key, bytes) = (ring.current(), metadata.encode());
        for (user, tag, ok) in [
            (user, ring.row_tag(user, id), true),
            (UserId::LOCAL, ring.row_tag(user, id), false),
            (user, ring.row_tag(UserId::LOCAL, id), false),
        ] {
            let context = ring.metadata_context(user, tag, key.id());
            let row = SealedRow {
                key_id: key.id(),
                metadata: aead::seal(key.metadata(), &context, &bytes).unwrap(),
                value: Sealed::new([]),
            };
            assert_eq!(ring.open_metadata(user, tag, &row).is_ok(), ok);
        }
    }

    #[test]
    fn every_part_of_a_row_changes_its_digest() {
        let (ring, info) = (ring(), metadata().info);
        let row = |metadata: &[u8], value: &[u8]| SealedRow {
            key_id: 1,
            metadata: Sealed::new(metadata),
            value: Sealed::new(value),
        };
        let with = |change: fn(&mut SecretInfo)| {
            let mut info = info.clone();
            change(&mut info);
            info
        };
        let digests: HashSet<[u8; 32]> = [
            ring.row_digest(&info, &row(b"ab", b"cd")),
            ring.row_digest(&info, &row(b"ab", b"ce")),
            ring.row_digest(&info, &row(b"bb", b"cd")),
            ring.row_digest(&info, &row(b"abc", b"d")),
            ring.row_digest(
                &with(|info| info.user_id = UserId::LOCAL),
                &row(b"ab", b"cd"),
            ),
            ring.row_digest(
                &with(|info| info.secret_id = SecretId::new(Uuid::nil())),
                &row(b"ab", b"cd"),
            ),
            ring.row_digest(&with(|info| info.revision += 1), &row(b"ab", b"cd")),
            self::ring().row_digest(&info, &row(b"ab", b"cd")),
        ]
        .map(|digest| *digest)
        .into();
        assert_eq!(digests.len(), 8);
    }
}
