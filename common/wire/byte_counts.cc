#include "common/wire/byte_counts.h"

namespace qc2c {

v1::ByteCounts ByteCountsOf(const WireBytes& bytes) {
  v1::ByteCounts proto;
  proto.set_tx(bytes.tx);
  proto.set_payload(bytes.payload);
  proto.set_scales(bytes.scales);
  proto.set_indices(bytes.indices);
  proto.set_header(bytes.header);
  proto.set_grpc(bytes.grpc());
  proto.set_messages(bytes.messages);
  return proto;
}

void AddByteCounts(const v1::ByteCounts& bytes, v1::ByteCounts& total) {
  total.set_tx(total.tx() + bytes.tx());
  total.set_payload(total.payload() + bytes.payload());
  total.set_scales(total.scales() + bytes.scales());
  total.set_indices(total.indices() + bytes.indices());
  total.set_header(total.header() + bytes.header());
  total.set_grpc(total.grpc() + bytes.grpc());
  total.set_formula(total.formula() + bytes.formula());
  total.set_messages(total.messages() + bytes.messages());
  total.set_raw(total.raw() + bytes.raw());
}

}  // namespace qc2c
