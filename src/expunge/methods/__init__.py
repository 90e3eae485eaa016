"""One file per method, and this list of them."""

from expunge.methods.certified_deep import CertifiedDeep
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.certified_removal import CertifiedRemoval
from expunge.methods.dare_forest import DareForest
from expunge.methods.deep_obliviate import DeepObliviate
from expunge.methods.delta_grad import DeltaGrad
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.methods.differential_privacy import DifferentialPrivacy
from expunge.methods.discriminant_analysis import DiscriminantAnalysis
from expunge.methods.distributed_descent import DistributedDescent
from expunge.methods.fine_tune import FineTune
from expunge.methods.fisher import Fisher
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.influence import Influence
from expunge.methods.k_means import KMeans
from expunge.methods.l_foci import LFoci
from expunge.methods.mixed_linear import MixedLinear
from expunge.methods.naive_bayes import NaiveBayes
from expunge.methods.nearest_neighbours import NearestNeighbours
from expunge.methods.newton_shift import NewtonShift
from expunge.methods.retrain import Retrain
from expunge.methods.rewind import Rewind
from expunge.methods.ridge import Ridge
from expunge.methods.sekhari import Sekhari
from expunge.methods.sisa import Sisa
from expunge.methods.support_vector_machine import SupportVectorMachine

__all__ = [
    "CertifiedDeep",
    "CertifiedNewton",
    "CertifiedRemoval",
    "DareForest",
    "DeepObliviate",
    "DeltaGrad",
    "DescentToDelete",
    "DifferentialPrivacy",
    "DiscriminantAnalysis",
    "DistributedDescent",
    "FineTune",
    "Fisher",
    "GradientAscent",
    "Influence",
    "KMeans",
    "LFoci",
    "MixedLinear",
    "NaiveBayes",
    "NearestNeighbours",
    "NewtonShift",
    "Retrain",
    "Rewind",
    "Ridge",
    "Sekhari",
    "Sisa",
    "SupportVectorMachine",
]
