"""The bundled sample: a generated pool and target, and a tiny model of ours to run them on."""
