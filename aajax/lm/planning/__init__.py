"""Published shapes, whether they fit on a mesh, and how long at best."""
