# Written by tools/generate_facade.py from the official plugins' manifests; do not edit.

from typing import Literal, overload

from aleator.infer.estimator import AbstractEstimator as AbstractEstimator
from aleator.infer.estimator import Estimate as Estimate
from aleator.infer.explain import explain as explain
from aleator.infer.explain_table import Explanation as Explanation
from aleator.infer.explain_table import SiteRow as SiteRow
from aleator.infer.factor import Factor as Factor
from aleator.infer.factor import Role as Role
from aleator.infer.factor import density as density
from aleator.infer.gradient_rules import GradientRule as GradientRule
from aleator.infer.potential import Potential as Potential
from aleator.infer.potential import potential as potential
from aleator.infer.step import pure_step as pure_step
from aleator.infer.structure import SiteStructure as SiteStructure
from aleator.infer.structure import Structure as Structure
from aleator.infer.structure import analyse as analyse
from aleator.plugins.capabilities import Capabilities as Capabilities
from aleator_enum_discrete.backward_sampling import BackwardSampleMessenger as BackwardSampleMessenger
from aleator_enum_discrete.configuration import config_enumerate as config_enumerate
from aleator_enum_discrete.infer_discrete import infer_discrete as infer_discrete
from aleator_enum_discrete.trace_enum_elbo import TraceEnum_ELBO as TraceEnum_ELBO
from aleator_importance.importance import Importance as Importance
from aleator_jit_estimators.compilation import compile as compile
from aleator_jit_estimators.jit_elbo import JitTrace_ELBO as JitTrace_ELBO
from aleator_jit_estimators.jit_elbo import JitTraceEnum_ELBO as JitTraceEnum_ELBO
from aleator_jit_estimators.jit_elbo import JitTraceGraph_ELBO as JitTraceGraph_ELBO
from aleator_jit_estimators.jit_elbo import JitTraceMeanField_ELBO as JitTraceMeanField_ELBO
from aleator_posterior.draws import Draws as Draws
from aleator_posterior.empirical_marginal import EmpiricalMarginal as EmpiricalMarginal
from aleator_posterior.marginals import Marginals as Marginals
from aleator_posterior.predictive import Predictive as Predictive
from aleator_posterior.trace_posterior import TracePosterior as TracePosterior
from aleator_posterior.trace_predictive import TracePredictive as TracePredictive
from aleator_renyi.iwae import IWAE as IWAE
from aleator_renyi.renyi_elbo import RenyiELBO as RenyiELBO
from aleator_svi_elbo import functional as functional
from aleator_svi_elbo.elbo import ELBO as ELBO
from aleator_svi_elbo.svi import SVI as SVI
from aleator_svi_elbo.trace_elbo import Trace_ELBO as Trace_ELBO
from aleator_svi_elbo.trace_graph_elbo import TraceGraph_ELBO as TraceGraph_ELBO
from aleator_svi_elbo.trace_mean_field_elbo import TraceMeanField_ELBO as TraceMeanField_ELBO

__all__ = [
    "AbstractEstimator",
    "Capabilities",
    "Estimate",
    "Explanation",
    "Factor",
    "GradientRule",
    "Potential",
    "Role",
    "SiteRow",
    "SiteStructure",
    "Structure",
    "analyse",
    "density",
    "explain",
    "get_estimator",
    "is_available",
    "potential",
    "pure_step",
]

def is_available(name: str) -> bool: ...
@overload
def get_estimator(name: Literal["ELBO"]) -> type[ELBO]: ...
@overload
def get_estimator(name: Literal["IWAE"]) -> type[IWAE]: ...
@overload
def get_estimator(name: Literal["JitTraceEnum_ELBO"]) -> type[JitTraceEnum_ELBO]: ...
@overload
def get_estimator(name: Literal["JitTraceGraph_ELBO"]) -> type[JitTraceGraph_ELBO]: ...
@overload
def get_estimator(name: Literal["JitTraceMeanField_ELBO"]) -> type[JitTraceMeanField_ELBO]: ...
@overload
def get_estimator(name: Literal["JitTrace_ELBO"]) -> type[JitTrace_ELBO]: ...
@overload
def get_estimator(name: Literal["RenyiELBO"]) -> type[RenyiELBO]: ...
@overload
def get_estimator(name: Literal["TraceEnum_ELBO"]) -> type[TraceEnum_ELBO]: ...
@overload
def get_estimator(name: Literal["TraceGraph_ELBO"]) -> type[TraceGraph_ELBO]: ...
@overload
def get_estimator(name: Literal["TraceMeanField_ELBO"]) -> type[TraceMeanField_ELBO]: ...
@overload
def get_estimator(name: Literal["Trace_ELBO"]) -> type[Trace_ELBO]: ...
@overload
def get_estimator(name: str) -> type[AbstractEstimator]: ...
