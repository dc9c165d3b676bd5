"""The bundled runner: it reads the document and executes it, without anybody looking on."""
