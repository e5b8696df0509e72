//! How an object of the spec is declared and read.
//!
//! Not serde's own derive: that also takes an array for an object, member by member, and is twice the code. Here an
//! object is an object, a member comes once, and one that nobody knows is passed over (config.md, "Extensibility").

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::Map;

/// Declares a JSON object of the spec: camelCase names, every member optional (null is absent, as to Go), defaults not
/// written. A member that is called otherwise in JSON says so (`typ = "type"`); one that is a map says `with
/// unique_map`.
macro_rules! object {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident $(= $called:literal)? $(with $read:ident)? : $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde($(rename = $called,)? skip_serializing_if = "crate::spec::is_default")]
                pub $field: $type,
            )*
        }

        impl crate::spec::object::Object for $name {
            const MEMBERS: &'static [&'static str] = &[$(crate::spec::object::called!($field $($called)?)),*];

            fn take<'de, A: serde::de::MapAccess<'de>>(&mut self, at: usize, access: &mut A) -> Result<(), A::Error> {
                // The optimizer makes a jump of it.
                let mut here = 0;
                $(
                    if at == here {
                        self.$field = crate::spec::object::value!(access $($read)?);
                        return Ok(());
                    }
                    here += 1;
                )*
                let _ = here;
                Ok(())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::spec::object::read(deserializer)
            }
        }
    };
}
pub(crate) use object;

/// What a member is called in JSON.
macro_rules! called {
    ($field:ident $called:literal) => {
        $called
    };
    ($field:ident) => {{
        const SNAKE: &str = stringify!($field);
        const CAMEL: [u8; crate::spec::object::camel_length(SNAKE)] = crate::spec::object::camel(SNAKE);
        match std::str::from_utf8(&CAMEL) {
            Ok(name) => name,
            Err(_) => "",
        }
    }};
}
pub(crate) use called;

/// Reads the value of a member; null leaves the default.
macro_rules! value {
    ($access:ident) => {
        $access.next_value::<Option<_>>()?.unwrap_or_default()
    };
    ($access:ident unique_map) => {
        $access.next_value_seed(crate::spec::object::UniqueMap::default())?
    };
}
pub(crate) use value;

/// An object declared by [`object!`].
pub(crate) trait Object: Default {
    /// Names of the members in JSON; at most 64.
    const MEMBERS: &'static [&'static str];

    /// Reads the value of one of them.
    fn take<'de, A: MapAccess<'de>>(&mut self, at: usize, access: &mut A) -> Result<(), A::Error>;
}

/// Length of a name in camelCase.
pub(crate) const fn camel_length(snake: &str) -> usize {
    let (bytes, mut at, mut length) = (snake.as_bytes(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'_' {
            length += 1;
        }
        at += 1;
    }
    length
}

/// A name in camelCase.
pub(crate) const fn camel<const N: usize>(snake: &str) -> [u8; N] {
    let (bytes, mut at, mut length) = (snake.as_bytes(), 0, 0);
    let mut name = [0; N];
    while at < bytes.len() {
        if bytes[at] != b'_' {
            name[length] = if at > 0 && bytes[at - 1] == b'_' { bytes[at].to_ascii_uppercase() } else { bytes[at] };
            length += 1;
        }
        at += 1;
    }
    name
}

/// Reads an object.
pub(crate) fn read<'de, T: Object, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Members(PhantomData))
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Object> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<T, A::Error> {
        const { assert!(T::MEMBERS.len() <= u64::BITS as usize) };
        let mut object = T::default();
        // Those read under their own name, and under one that is like it.
        let (mut seen, mut alike) = (0_u64, 0_u64);
        while let Some(member) = access.next_key_seed(Name(T::MEMBERS))? {
            // Of two spellings the member's own counts.
            let Some((at, exact)) = member.filter(|(at, exact)| *exact || seen >> at & 1 == 0) else {
                access.next_value::<IgnoredAny>()?;
                continue;
            };
            let known = if exact { &mut seen } else { &mut alike };
            if *known >> at & 1 == 1 {
                return Err(Error::custom(format_args!("duplicate field `{}`", T::MEMBERS[at])));
            }
            *known |= 1 << at;
            object.take(at, &mut access)?;
        }
        Ok(object)
    }
}

/// The name of a member, as its index among those known, and whether it is spelt so. Go's decoder, and so runc, does not
/// tell small letters from capitals, and what it takes for a limit or a mask must not be passed over here.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(usize, bool)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<(usize, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let exact = self.0.iter().position(|member| *member == name);
        let alike = || self.0.iter().position(|member| member.eq_ignore_ascii_case(name));
        Ok(exact.map(|at| (at, true)).or_else(|| alike().map(|at| (at, false))))
    }
}

/// A map whose names may not repeat; null is none.
pub(crate) struct UniqueMap<T>(PhantomData<T>);

impl<T> Default for UniqueMap<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: serde::Deserialize<'de>> DeserializeSeed<'de> for UniqueMap<T> {
    type Value = Option<Map<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for UniqueMap<T> {
    type Value = Option<Map<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value()?;
            if map.contains_key(&name) {
                return Err(Error::custom(format_args!("duplicate field `{name}`")));
            }
            map.insert(name, value);
        }
        Ok(Some(map))
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::Resources;

    fn cpus(json: &str) -> Result<Option<String>, String> {
        let resources: Resources = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Ok(resources.cpu.and_then(|cpu| cpu.cpus))
    }

    #[test]
    fn names_in_another_case() {
        assert_eq!(cpus(r#"{"CPU":{"Cpus":"1"}}"#), Ok(Some("1".into())));
        for json in [r#"{"cpu":{"cpus":"0"},"Cpu":{"cpus":"1"}}"#, r#"{"Cpu":{"cpus":"1"},"cpu":{"cpus":"0"}}"#] {
            assert_eq!(cpus(json), Ok(Some("0".into())), "{json}");
        }
        for json in [r#"{"cpu":{},"cpu":{}}"#, r#"{"Cpu":{},"CPU":{}}"#] {
            assert!(cpus(json).is_err_and(|error| error.contains("duplicate field `cpu`")), "{json}");
        }
    }
}
