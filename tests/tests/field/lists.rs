//! List files, feeds and country data.
