"""Why a model suffers under int8: which layers, and for which reason."""
