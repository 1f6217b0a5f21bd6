//! Columns of a table by name.

use polars::prelude::{Column, DataFrame};

use crate::error::{Error, Result};

/// A column, looked for name by name: polars keeps an index whose hashes belong to the library that made it, and where the cells of an
/// evcxr kernel link a copy each, a table sorted in one cell would not find its columns in the next.
pub(crate) fn column<'a>(frame: &'a DataFrame, name: &str) -> Result<&'a Column> {
    let names = || frame.columns().iter().map(|column| column.name().as_str()).collect::<Vec<_>>().join(", ");
    let found = frame.columns().iter().find(|column| column.name().as_str() == name);
    found.ok_or_else(|| Error::data(format!("column {name}"), format!("expected one of {}", names())))
}

#[cfg(test)]
mod tests {
    use super::column;
    use polars::df;
    use polars::prelude::*;
    use std::sync::Arc;

    #[test]
    fn a_column_is_found_whatever_index_the_table_carries() -> crate::Result<()> {
        let mut frame = df!("a" => [1, 2], "b" => [3, 4])?;
        // The index of another copy of polars: it misses.
        let foreign = Schema::from_iter([("x".into(), DataType::Int32), ("y".into(), DataType::Int32)]);
        // SAFETY: the types are those of the columns; only the look-up by name is led astray.
        unsafe { frame.set_schema(Arc::new(foreign)) };
        assert!(frame.column("b").is_err());
        assert_eq!(column(&frame, "b")?.i32()?.get(0), Some(3));
        let message = column(&frame, "c").err().map(|error| error.to_string());
        assert_eq!(message.as_deref(), Some("data column c: expected one of a, b"));
        Ok(())
    }
}
