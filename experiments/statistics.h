// The statistics of a table: intervals, paired comparisons, percentiles. 95 % everywhere.
#pragma once

#include <cstdint>
#include <vector>

namespace qc2c {

struct Interval {
  double low = 0;
  double high = 0;
};

// Wilson's score interval of a proportion (E. B. Wilson, JASA 22, 1927). REQUIRES: 0 < n, correct
// <= n.
Interval WilsonInterval(uint64_t correct, uint64_t n);

// Two settings on the same n questions: won = only the first is right, lost = only the second is.
struct PairedCounts {
  uint64_t won = 0;
  uint64_t lost = 0;
  uint64_t n = 0;
};

// The two-sided exact McNemar test: twice the smaller tail of Binomial(won + lost, 1/2), at most 1.
double McNemarExactP(const PairedCounts& counts);

// The difference of the two accuracies, first less second, (won - lost) / n, and its interval:
// Wald's after half an observation is added to each cell of the 2 x 2 table (Agresti and Min,
// Statistics in Medicine 24, 2005), which stays honest when few or no questions differ. REQUIRES: 0
// < n.
double PairedDifference(const PairedCounts& counts);
Interval PairedDifferenceInterval(const PairedCounts& counts);

// The value below which a `fraction` of the sample lies, linearly interpolated between order
// statistics (type 7 of Hyndman and Fan). REQUIRES: not empty, 0 <= fraction <= 1.
double Percentile(std::vector<double> sample, double fraction);

// Kullback-Leibler divergence of `other` from `reference`, in nats: distributions over the same
// options given as scores, unnormalised log-probabilities. REQUIRES: equally many, at least one.
double KlDivergence(const std::vector<double>& reference, const std::vector<double>& other);

double Mean(const std::vector<double>& sample);  // REQUIRES: not empty

}  // namespace qc2c
