//! A value that can be bound to a statement of either database.

use chrono::{DateTime, Utc};
use sqlx::{
    Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, types::Oid},
};
use uuid::Uuid;

/// A value for a placeholder. How each kind is stored is told in [`crate::sql`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Uuid(Uuid),
    Time(DateTime<Utc>),
}

/// Values of one kind, for PostgreSQL: one placeholder stands for the values of many rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
    Bool(Vec<Option<bool>>),
    Uuid(Vec<Option<Uuid>>),
}

impl Column {
    /// None where the values are of different kinds, or all of them null.
    pub(crate) fn of<'v>(values: impl Iterator<Item = &'v Value> + Clone) -> Option<Self> {
        macro_rules! column {
            ($variant:ident, $($pattern:pat => $value:expr),+) => {{
                let value = |value: &Value| match value {
                    Value::Null => Some(None),
                    $($pattern => Some(Some($value)),)+
                    _ => None,
                };
                Self::$variant(values.map(value).collect::<Option<_>>()?)
            }};
        }
        let kind = values.clone().find(|value| **value != Value::Null)?;
        Some(match kind {
            Value::Null => return None,
            Value::Int(_) | Value::Time(_) => {
                column!(Int, Value::Int(int) => *int, Value::Time(time) => time.timestamp_micros())
            }
            Value::Real(_) => column!(Real, Value::Real(real) => *real),
            Value::Text(_) => column!(Text, Value::Text(text) => text.clone()),
            Value::Bytes(_) => column!(Bytes, Value::Bytes(bytes) => bytes.clone()),
            Value::Bool(_) => column!(Bool, Value::Bool(bool) => *bool),
            Value::Uuid(_) => column!(Uuid, Value::Uuid(uuid) => *uuid),
        })
    }

    /// What PostgreSQL calls the kind.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) => "BIGINT",
            Self::Real(_) => "DOUBLE PRECISION",
            Self::Text(_) => "TEXT",
            Self::Bytes(_) => "BYTEA",
            Self::Bool(_) => "BOOLEAN",
            Self::Uuid(_) => "UUID",
        }
    }
}

/// What can be handed over as the values of one statement: a tuple, an array or a list.
pub trait IntoValues {
    fn into_values(self) -> Vec<Value>;
}

impl IntoValues for () {
    fn into_values(self) -> Vec<Value> {
        Vec::new()
    }
}

impl IntoValues for Vec<Value> {
    fn into_values(self) -> Vec<Value> {
        self
    }
}

impl<const N: usize> IntoValues for [Value; N] {
    fn into_values(self) -> Vec<Value> {
        self.into()
    }
}

macro_rules! tuples_into_values {
    ($(($($name:ident)+))+) => {$(
        impl<$($name: Into<Value>),+> IntoValues for ($($name,)+) {
            #[expect(non_snake_case, reason = "the type parameters name the fields")]
            fn into_values(self) -> Vec<Value> {
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    )+};
}

tuples_into_values! {
    (A)
    (A B)
    (A B C)
    (A B C D)
    (A B C D E)
    (A B C D E F)
    (A B C D E F G)
    (A B C D E F G H)
    (A B C D E F G H I)
    (A B C D E F G H I J)
    (A B C D E F G H I J K)
    (A B C D E F G H I J K L)
    (A B C D E F G H I J K L M)
    (A B C D E F G H I J K L M N)
    (A B C D E F G H I J K L M N O)
    (A B C D E F G H I J K L M N O P)
}

macro_rules! value_from {
    ($($type:ty => $variant:ident)+) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

value_from! {
    i64 => Int
    i32 => Int
    u32 => Int
    u16 => Int
    u8 => Int
    f64 => Real
    String => Text
    &str => Text
    Vec<u8> => Bytes
    &[u8] => Bytes
    [u8; 32] => Bytes
    bool => Bool
    Uuid => Uuid
    DateTime<Utc> => Time
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).expect("counts and positions stay far below 2^63"))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(i64::try_from(value).expect("counts stay far below 2^63"))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Clone + Into<Value>> From<&T> for Value {
    fn from(value: &T) -> Self {
        value.clone().into()
    }
}

/// A null that takes the type of the column it goes into. PostgreSQL refuses one of another type.
pub(super) struct UntypedNull;

impl Type<Postgres> for UntypedNull {
    fn type_info() -> PgTypeInfo {
        const UNKNOWN: Oid = Oid(705);
        PgTypeInfo::with_oid(UNKNOWN)
    }
}

impl Encode<'_, Postgres> for UntypedNull {
    fn encode_by_ref(&self, _buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}
