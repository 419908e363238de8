#include "common/obs/metrics.h"

#include <prometheus/text_serializer.h>

namespace qc2c {

std::string Metrics::Serialize() const {
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

prometheus::Counter& MakeCounter(Metrics& metrics, const std::string& name,
                                 const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(metrics.registry()).Add({});
}

prometheus::Gauge& MakeGauge(Metrics& metrics, const std::string& name, const std::string& help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(metrics.registry()).Add({});
}

prometheus::Histogram& MakeHistogram(Metrics& metrics, const std::string& name,
                                     const std::string& help,
                                     const prometheus::Histogram::BucketBoundaries& bounds) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(metrics.registry())
      .Add({}, bounds);
}

prometheus::Histogram::BucketBoundaries DoublingBounds(double first, size_t count) {
  prometheus::Histogram::BucketBoundaries bounds;
  for (double bound = first; bounds.size() < count; bound *= 2) bounds.push_back(bound);
  return bounds;
}

}  // namespace qc2c
