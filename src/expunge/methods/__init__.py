"""One file per method, and this list of them."""

from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa

__all__ = ["CertifiedNewton", "Retrain", "Sisa"]
