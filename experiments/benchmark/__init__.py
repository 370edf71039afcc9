"""How fast this library is, against bare JAX, its own floor and other libraries."""
