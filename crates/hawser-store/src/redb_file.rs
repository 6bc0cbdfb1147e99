//! Rows in one embedded file.
