"""Is a cell still right: metrics, the reference's own noise, gates and scores, on arrays alone."""
