"""Work under the lake's lock."""
