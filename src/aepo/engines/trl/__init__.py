"""Trains under Hugging Face's trainer (extra `trl`): `AEPOTrainer`, and `question_dataset` for its questions."""

try:
    from aepo.engines.trl.arguments import question_dataset
    from aepo.engines.trl.trainer import AEPOTrainer
except ModuleNotFoundError as error:
    if error.name not in ("trl", "datasets"):
        raise
    raise ImportError(f'aepo.engines.trl needs the package {error.name}: pip install "aepo-rl[trl]"') from error

__all__ = ["AEPOTrainer", "question_dataset"]
