/// What this build is.
public enum BuildInfo {
    /// Semantic version; CHANGELOG.md tells what each holds.
    public static let version = "0.1.0"
}
