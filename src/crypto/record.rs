//! Sealed records: a secret's metadata and its value, and what binds them to their place.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    aead::{self, Context},
    digest::{Keyed, MemberDigest, keyed_digest},
    keys::{FORMAT_VERSION, KeyRing},
    stack::wiping_stack,
};
use crate::{
    bytes::length_prefix,
    error::{Error, ErrorKind},
    metadata::Metadata,
    sealed::{RowTag, Sealed, SealedRow, UserTag},
    secret::{SecretId, SecretInfo, SecretValue, UserId},
};

/// The bytes of the context of a value.
const VALUE_CONTEXT: usize = 141;

impl KeyRing {
    /// Returns the name of a user's rows in a store.
    pub(crate) fn user_tag(&self, user: UserId) -> UserTag {
        let context = self
            .vault
            .context("keyward user tag", &[user.as_uuid().as_bytes()]);
        UserTag(truncate(&keyed_digest(self.tags(), &context)))
    }

    /// Returns the name of a secret's row in a store.
    pub(crate) fn row_tag(&self, user: UserId, secret: SecretId) -> RowTag {
        wiping_stack(|| self.row_tag_with(&Keyed::new(self.tags()), user, secret))
    }

    fn row_tag_with(&self, tags: &Keyed, user: UserId, secret: SecretId) -> RowTag {
        let context = self.vault.context(
            "keyward row tag",
            &[user.as_uuid().as_bytes(), secret.as_uuid().as_bytes()],
        );
        RowTag(truncate(&tags.digest(&[context.as_bytes()])))
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

    /// Opens the metadata of rows stored under this user's and their own names, one after the other, and passes
    /// each to `opened`, together with its digest as a member of the user's root.
    ///
    /// The HMAC states of the keys are computed once, and wiped in the end.
    pub(crate) fn open_rows(
        &self,
        user: UserId,
        rows: &[(RowTag, Arc<SealedRow>)],
        opened: impl FnMut(Metadata, &Arc<SealedRow>, MemberDigest) -> Result<(), Error>,
    ) -> Result<(), Error> {
        wiping_stack(|| {
            let states = wiping_stack(|| RowStates {
                tags: Keyed::new(self.tags()),
                digests: Keyed::new(self.digests()),
            });
            self.open_rows_with(&states, user, rows, opened)
        })
    }

    /// Makes objects that go to the heap. A part of an object that is not set, such as the text of an `Option` that has
    /// none, is what lay on the stack before: it must be nothing of a key. So the stack is wiped after each use of a
    /// key, and this is not inlined into where the states of the keys are.
    #[inline(never)]
    fn open_rows_with(
        &self,
        states: &RowStates,
        user: UserId,
        rows: &[(RowTag, Arc<SealedRow>)],
        mut opened: impl FnMut(Metadata, &Arc<SealedRow>, MemberDigest) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (tag, row) in rows {
            let metadata = self.open_metadata(user, *tag, row).ok_or_else(damaged)?;
            let (own_tag, member) = wiping_stack(|| {
                let own_tag = self.row_tag_with(&states.tags, user, metadata.info.secret_id);
                let member = self.row_member_with(&states.digests, &metadata.info, row);
                (own_tag, member)
            });
            if !bool::from(own_tag.0.ct_eq(&tag.0)) {
                return Err(damaged());
            }
            opened(metadata, row, member)?;
        }
        Ok(())
    }

    /// Returns `None` if it does not open, or is of another user.
    fn open_metadata(&self, user: UserId, tag: RowTag, row: &SealedRow) -> Option<Metadata> {
        let key = self.data_key(row.key_id)?;
        let context = self.metadata_context(user, tag, row.key_id);
        let bytes = aead::open(key.metadata(), &context, &row.metadata)?;
        Metadata::decode(&bytes).filter(|metadata| metadata.info.user_id == user)
    }

    /// Opens a value that belongs to this metadata, whose binding has this digest. The value's length does not
    /// bind the two, but it is checked, since quotas count it.
    pub(crate) fn open_value(
        &self,
        metadata: &Metadata,
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
        let context = self.value_context(&metadata.info, binding, row.key_id);
        let mut bytes = aead::open(key.value(), &context, &row.value).ok_or_else(corrupt)?;
        if u32::try_from(bytes.len()) != Ok(metadata.value_bytes) {
            return Err(corrupt());
        }
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Zeroizing::new(text).into()),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(corrupt())
            }
        }
    }

    /// Returns the digest of a row as a member of its user's root.
    pub(crate) fn row_member(&self, info: &SecretInfo, row: &SealedRow) -> MemberDigest {
        wiping_stack(|| self.row_member_with(&Keyed::new(self.digests()), info, row))
    }

    fn row_member_with(&self, digests: &Keyed, info: &SecretInfo, row: &SealedRow) -> MemberDigest {
        let context = self.vault.context(
            "keyward row digest",
            &[
                info.user_id.as_uuid().as_bytes(),
                info.secret_id.as_uuid().as_bytes(),
                &info.revision.to_le_bytes(),
            ],
        );
        // The last two fields, encoded as in a context but not copied into one.
        let [metadata, value] = [&row.metadata, &row.value].map(Sealed::as_bytes);
        let [metadata_length, value_length] = [metadata, value].map(length_prefix);
        MemberDigest(*digests.digest(&[
            context.as_bytes(),
            &metadata_length,
            metadata,
            &value_length,
            value,
        ]))
    }

    /// The secret's id and revision are themselves sealed in the metadata, so they cannot be part of the context;
    /// the row's name stands in for the id, and the user's root for the revision.
    fn metadata_context(&self, user: UserId, row: RowTag, key_id: u32) -> Context {
        self.vault.context(
            "keyward metadata",
            &[user.as_uuid().as_bytes(), &row.0, &key_id.to_le_bytes()],
        )
    }

    /// What [`VaultId::context`](super::keys::VaultId::context) returns for a value.
    fn value_context(
        &self,
        info: &SecretInfo,
        binding: &BindingDigest,
        key_id: u32,
    ) -> Context<[u8; VALUE_CONTEXT]> {
        Context::of_fixed([
            b"keyward value",
            &FORMAT_VERSION.to_le_bytes(),
            &self.vault.0,
            info.user_id.as_uuid().as_bytes(),
            info.secret_id.as_uuid().as_bytes(),
            &info.revision.to_le_bytes(),
            &key_id.to_le_bytes(),
            &binding.0,
        ])
    }
}

/// A digest of where a value may go: a value does not open with a changed binding.
#[derive(Debug, Clone)]
pub(crate) struct BindingDigest([u8; 32]);

impl BindingDigest {
    pub(crate) fn of(info: &SecretInfo) -> BindingDigest {
        let mut context = Context::new("keyward binding", &[info.secret_name.as_bytes()]);
        let optional = |context: &mut Context, text: &Option<String>| {
            context.push(&[text.is_some().into()]);
            if let Some(text) = text {
                context.push(text.as_bytes());
            }
        };
        optional(&mut context, &info.tool_name);
        optional(&mut context, &info.tool_arg);
        context.push(&[info.is_default_for_tool.into()]);
        optional(&mut context, &info.format);
        BindingDigest(Sha256::digest(context.as_bytes()).into())
    }
}

fn damaged() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "a secret's record is damaged: restore a backup",
    )
}

/// The states of the keys that each row takes.
struct RowStates {
    tags: Keyed,
    digests: Keyed,
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
    use uuid::Uuid;

    fn metadata() -> Metadata {
        let Metadata { info, value_bytes } =
            Metadata::of_default(7, "linear", "agno__linear__*", "api_key");
        let info = SecretInfo {
            user_id: UserId::new(Uuid::from_u128(9)),
            revision: 3,
            ..info
        };
        Metadata { info, value_bytes }
    }

    fn ring() -> KeyRing {
        KeyRing::random(VaultId::random().unwrap()).unwrap()
    }

    fn open_metadata(
        ring: &KeyRing,
        user: UserId,
        tag: RowTag,
        row: SealedRow,
    ) -> Result<Metadata, Error> {
        let mut found = None;
        ring.open_rows(user, &[(tag, Arc::new(row))], |metadata, row, member| {
            assert_eq!(member, ring.row_member(&metadata.info, row));
            found = Some(metadata);
            Ok(())
        })?;
        Ok(found.unwrap())
    }

    #[test]
    fn a_row_opens_in_its_place() {
        let (ring, metadata) = (ring(), metadata());
        let row = ring.seal_row(&metadata, &"4QvT9sLm".into()).unwrap();
        let user = metadata.info.user_id;
        let tag = ring.row_tag(user, metadata.info.secret_id);
        assert_eq!(
            open_metadata(&ring, user, tag, row.clone()).unwrap(),
            metadata
        );
        assert_eq!(
            ring.open_value(&metadata, &BindingDigest::of(&metadata.info), &row)
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
            (UserId::LOCAL, tag, row.clone()),
            (user, other_tag, row),
            (user, tag, other_key),
        ] {
            let error = open_metadata(&ring, user, tag, row).unwrap_err();
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
            let mut other = metadata.clone();
            change(&mut other.info);
            let binding = BindingDigest::of(&other.info);
            assert!(
                ring.open_value(&other, &binding, &row).is_err(),
                "change {i}"
            );
        }
        // What is not part of the binding may change without a new value: only the mask and the times.
        let mut other = metadata.clone();
        other.info.display = Some("********".to_owned());
        let binding = BindingDigest::of(&other.info);
        assert!(ring.open_value(&other, &binding, &row).is_ok());
        for value_bytes in [7, 9] {
            other.value_bytes = value_bytes;
            assert!(ring.open_value(&other, &binding, &row).is_err());
        }
    }

    #[test]
    fn a_context_of_fixed_parts_is_one_like_the_others() {
        let (ring, info) = (ring(), metadata().info);
        let binding = BindingDigest::of(&info);
        let fields: [&[u8]; 5] = [
            info.user_id.as_uuid().as_bytes(),
            info.secret_id.as_uuid().as_bytes(),
            &info.revision.to_le_bytes(),
            &7_u32.to_le_bytes(),
            &binding.0,
        ];
        assert_eq!(
            ring.value_context(&info, &binding, 7).as_bytes(),
            ring.vault.context("keyward value", &fields).as_bytes()
        );
    }

    /// Only what keyward itself sealed gets this far.
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
            assert_eq!(open_metadata(&ring, user, tag, row).is_ok(), ok);
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
            ring.row_member(&info, &row(b"ab", b"cd")),
            ring.row_member(&info, &row(b"ab", b"ce")),
            ring.row_member(&info, &row(b"bb", b"cd")),
            ring.row_member(&info, &row(b"abc", b"d")),
            ring.row_member(
                &with(|info| info.user_id = UserId::LOCAL),
                &row(b"ab", b"cd"),
            ),
            ring.row_member(
                &with(|info| info.secret_id = SecretId::new(Uuid::nil())),
                &row(b"ab", b"cd"),
            ),
            ring.row_member(&with(|info| info.revision += 1), &row(b"ab", b"cd")),
            self::ring().row_member(&info, &row(b"ab", b"cd")),
        ]
        .map(|member| member.0)
        .into();
        assert_eq!(digests.len(), 8);
    }
}
