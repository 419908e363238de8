#include "experiments/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace qc2c {
namespace {

constexpr double kZ = 1.959963984540054;  // the normal distribution's 0.975 quantile

}  // namespace

Interval WilsonInterval(uint64_t correct, uint64_t n) {
  const double count = static_cast<double>(n);
  const double p = static_cast<double>(correct) / count;
  const double denominator = 1 + kZ * kZ / count;
  const double centre = (p + kZ * kZ / (2 * count)) / denominator;
  const double half =
      kZ * std::sqrt(p * (1 - p) / count + kZ * kZ / (4 * count * count)) / denominator;
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double McNemarExactP(const PairedCounts& counts) {
  const double discordant = static_cast<double>(counts.won + counts.lost);
  const uint64_t smaller = std::min(counts.won, counts.lost);
  // Terms in logarithms: 2^-n underflows for n above a thousand.
  double tail = 0;
  for (uint64_t k = 0; k <= smaller; ++k) {
    const double x = static_cast<double>(k);
    tail += std::exp(std::lgamma(discordant + 1) - std::lgamma(x + 1) -
                     std::lgamma(discordant - x + 1) - discordant * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

double PairedDifference(const PairedCounts& counts) {
  return (static_cast<double>(counts.won) - static_cast<double>(counts.lost)) /
         static_cast<double>(counts.n);
}

Interval PairedDifferenceInterval(const PairedCounts& counts) {
  const double won = static_cast<double>(counts.won) + 0.5;
  const double lost = static_cast<double>(counts.lost) + 0.5;
  const double n = static_cast<double>(counts.n) + 2;
  const double difference = (won - lost) / n;
  const double error = std::sqrt((won + lost - (won - lost) * (won - lost) / n)) / n;
  return {std::max(-1.0, difference - kZ * error), std::min(1.0, difference + kZ * error)};
}

double Percentile(std::vector<double> sample, double fraction) {
  std::sort(sample.begin(), sample.end());
  const double position = fraction * static_cast<double>(sample.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sample.size() - 1);
  return sample[below] + (position - static_cast<double>(below)) * (sample[above] - sample[below]);
}

double Mean(const std::vector<double>& sample) {
  return std::accumulate(sample.begin(), sample.end(), 0.0) / static_cast<double>(sample.size());
}

double KlDivergence(const std::vector<double>& reference, const std::vector<double>& other) {
  const auto log_sum = [](const std::vector<double>& scores) {
    const double max = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - max);
    return max + std::log(sum);
  };
  const double reference_sum = log_sum(reference);
  const double other_sum = log_sum(other);
  double divergence = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - reference_sum;
    divergence += std::exp(log_p) * (log_p - (other[i] - other_sum));
  }
  return divergence;
}

}  // namespace qc2c
