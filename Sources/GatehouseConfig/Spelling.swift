/// The word that a misspelt one was most likely meant to be.
///
/// - Returns: nil where none of the candidates is near: within a third of its letters, at least one, by the
///   Damerau-Levenshtein distance, or begun or ended by the word.
func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
    // A long word is no slip of one of our short ones.
    guard word.utf8.count <= 64 else { return nil }
    let typed = Array(fold(word).utf8)
    var best: (word: String, distance: Int)?
    for candidate in candidates {
        let distance = editDistance(typed, Array(fold(candidate).utf8))
        guard distance <= max(1, candidate.utf8.count / 3), distance < best?.distance ?? .max else { continue }
        best = (candidate, distance)
    }
    if let best { return best.word }
    // `cert`, `trusted_networks`: one is the beginning or the end of the other.
    let folded = fold(word)
    guard folded.utf8.count >= 3 else { return nil }
    return candidates.first { candidate in
        let other = fold(candidate)
        guard other.utf8.count >= 3 else { return false }
        return other.hasPrefix(folded) || folded.hasPrefix(other) || other.hasSuffix(folded) || folded.hasSuffix(other)
    }
}

/// `privateKey`, `private-key` and `PRIVATE_KEY` are slips of `private_key`.
private func fold(_ word: String) -> String {
    word.lowercased().filter { $0 != "_" && $0 != "-" && $0 != " " }
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other.
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (row, byte) in left.enumerated() {
        var current = [row + 1]
        for (column, other) in right.enumerated() {
            var distance = min(last[column + 1] + 1, current[column] + 1, last[column] + (byte == other ? 0 : 1))
            if row > 0, column > 0, byte == right[column - 1], left[row - 1] == other {
                distance = min(distance, beforeLast[column - 1] + 1)
            }
            current.append(distance)
        }
        (beforeLast, last) = (last, current)
    }
    return last[right.count]
}
